// The matrix product around the tile, and what becomes of its sums.
//
// Outer loop over panels of up to 4 blocks (64 outputs): a panel's weights (64 K bytes) are read from the second-level cache
// by all rows before the next panel is touched. Inner loop over groups of rows of equal height: 10 rows go as 5 + 5 through
// an 8-row machine, not as 8 + 2, since a flat tile wastes loads. `finish` turns a row of 16 sums into codes or reals.
#pragma once

constexpr int kMostSumsOut = 24 * 16;

// sums (R, B, 16) without the offset that unsigned inputs brought in, plus the integer bias
static inline void true_sums(const qk::Layer& layer, int block, int32_t* sums) {
    const int32_t* bias = layer.bias + block * 16;
    const int32_t* column_sum = layer.column_sum + block * 16;
    for (int j = 0; j < 16; ++j)
        sums[j] = int32_t(uint32_t(sums[j]) + uint32_t(bias[j]) - uint32_t(Simd::kOffset) * uint32_t(column_sum[j]));
}

template <class Finish>
static void gemm(const qk::Layer& layer, const int8_t* x, qk::Range range, Finish finish) {
    alignas(64) int32_t sums[kMostSumsOut];
    const int8_t* rows[Simd::kMostRows];
    const int64_t all = range.row1 - range.row0;
    const int64_t groups = (all + Simd::kMostRows - 1) / Simd::kMostRows;
    const int tallest = int((all + groups - 1) / groups), wide = blocks_beside(tallest);
    for (int block = range.block0; block < range.block1; block += wide) {
        const int blocks = range.block1 - block < wide ? range.block1 - block : wide;
        for (int64_t row = range.row0, group = 0; group < groups; ++group) {
            const int height = int((range.row1 - row + groups - group - 1) / (groups - group));
            for (int r = 0; r < height; ++r) rows[r] = x + (row + r) * layer.inputs;
            const Tile compute = find_tile<Simd::kMostRows, blocks_beside(Simd::kMostRows)>(height, blocks);
            compute(rows, 1, layer.inputs, layer.weight + block * layer.block_bytes, layer.block_bytes, sums);
            for (int r = 0; r < height; ++r)
                for (int b = 0; b < blocks; ++b) {
                    true_sums(layer, block + b, sums + (r * blocks + b) * 16);
                    finish(row + r, block + b, sums + (r * blocks + b) * 16);
                }
            row += height;
        }
    }
}

static inline int outputs_of(const qk::Layer& layer, int block) {  // the last block may be partly filled
    const int left = layer.outputs - block * 16;
    return left < 16 ? left : 16;
}

static void linear_int8(const qk::Layer& layer, const int8_t* x, qk::Range range, int8_t* out) {
    gemm(layer, x, range, [&](int64_t row, int block, const int32_t* sums) {
        int8_t codes[16];
        Simd::requantize16(sums, layer.multiplier + block * 16, layer.shift + block * 16, layer, codes);
        int8_t* to = out + row * layer.outputs + block * 16;
        const int count = outputs_of(layer, block);
        if (count == 16) __builtin_memcpy(to, codes, 16);
        else for (int j = 0; j < count; ++j) to[j] = codes[j];
    });
}

static void linear_float(const qk::Layer& layer, const int8_t* x, const float* row_scale, qk::Range range, float* out) {
    gemm(layer, x, range, [&](int64_t row, int block, const int32_t* sums) {
        float reals[16];
        const float* scale = layer.scale + block * 16;
        const float* bias = layer.real_bias + block * 16;
        const float of_row = row_scale ? row_scale[row] : 1.0f;
        for (int j = 0; j < 16; ++j) reals[j] = float(sums[j]) * (of_row * scale[j]) + bias[j];
        float* to = out + row * layer.outputs + block * 16;
        const int count = outputs_of(layer, block);
        if (count == 16) __builtin_memcpy(to, reals, 64);
        else for (int j = 0; j < count; ++j) to[j] = reals[j];
    });
}
