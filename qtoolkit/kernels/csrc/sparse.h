// Sparse weights, compressed by rows (CSR): for each output the values that are not zero, and the inputs they belong to.
//
// The matrix is cut into tiles of up to 256 outputs x 128 inputs, so that a position in a tile is one byte and its inputs stay in the
// first cache while its weights stream by: 512 bytes for one row of the batch, 32 KB for 64. Inside a tile, rows are sorted by how
// many weights they keep and then go 16 by 16, a *slice*, side by side (SELL-C-sigma, Kreutzer et al. 2014): neighbors in this order are
// nearly equally long, so that a few zeros fill up a slice, and the processor guesses where its loop ends. At batch 1 a slice fills a
// register, and every weight costs a *gather*: inputs lie anywhere, and a gather loads one element at a time, however wide the
// register. That is why 10 % density is not 10 times faster: dense int8 reads 64 weights in one load. With a batch, up to 64 of its
// rows are neighbors instead (columns.h), and one index serves as many multiply-adds. Tiles come from a file: before a tile is used,
// its slices are counted and its indices compared with its inputs. Real arithmetic: instruction sets may differ in the last bits.
#pragma once

constexpr int kMostOutputs = 256;  // of a tile: real_layers.cpp cuts layers

struct SparseTile {
    const float* value;                    // [height][16] of the first slice, then those of the next
    const uint8_t *index, *height, *order;  // index as `value`; [slices]; [slices][16]
    int slices;
};

static inline uint8_t highest_of(const uint8_t* bytes, int64_t count) {
    uint8_t highest = 0;
    for (int64_t i = 0; i < count; ++i) highest = bytes[i] > highest ? bytes[i] : highest;
    return highest;
}

// False: its slices do not fill it, or a position lies outside.
static bool open_tile(const qk::Sparse& layer, int64_t window, int64_t block, SparseTile& tile) {
    const int64_t at = window * layer.blocks + block, slices = layer.window / 16, first = layer.start[at], count = layer.start[at + 1] - first;
    const int64_t left = layer.inputs - block * layer.block, inputs = left < layer.block ? left : layer.block;
    tile = {layer.value + first, layer.index + first, layer.height + at * slices, layer.order + at * layer.window, int(slices)};
    int64_t weights = 0;
    for (int s = 0; s < tile.slices; ++s) weights += tile.height[s] * 16;
    return weights == count && highest_of(tile.index, count) < inputs && highest_of(tile.order, layer.window) < layer.window;
}

// One row of the batch. False: a tile is damaged.
static bool sparse_row(const qk::Sparse& layer, const float* x, int32_t window0, int32_t window1, float* out) {
    for (int64_t window = window0; window < window1; ++window) {
        const int64_t first = window * layer.window, left = layer.outputs - first;
        float sums[kMostOutputs];
        __builtin_memcpy(sums, layer.bias + first, 4 * layer.window);
        for (int64_t block = 0; block < layer.blocks; ++block) {
            SparseTile tile;
            if (!open_tile(layer, window, block, tile)) return false;
            const float *inputs = x + block * layer.block, *value = tile.value;
            const uint8_t* index = tile.index;
            for (int s = 0; s < tile.slices; ++s) {
                int i = tile.height[s];
                if (!i) continue;
                Simd::Reals total[2] = {Simd::reals(0.0f), Simd::reals(0.0f)};  // one multiply-add need not wait for the one before
                const auto add = [&](Simd::Reals& sum) __attribute__((always_inline)) {
                    fetch_ahead(value);  // not the indices: `open_tile` has just read them
                    Simd::multiply_add(sum, Simd::gather(inputs, index), Simd::load(value));
                    index += 16, value += 16;
                };
                for (; i >= 2; i -= 2) add(total[0]), add(total[1]);
                if (i) add(total[0]);
                float lanes[16];
                Simd::multiply_add(total[0], Simd::reals(1.0f), total[1]);
                Simd::store(lanes, total[0]);
                for (int j = 0; j < 16; ++j) sums[tile.order[16 * s + j]] += lanes[j];
            }
        }
        __builtin_memcpy(out + first, sums, 4 * (left < layer.window ? left : layer.window));
    }
    return true;
}

// Outputs of a slice for 16 G rows of the batch, R at a time: as many sums as hide what a multiply-add takes. inputs: (inputs of the
// tile, 16 G); sums: (outputs of the window, 16 G), which the first tile of a row of tiles starts from `bias`.
template <int G>
static inline void sparse_slice(const SparseTile& tile, int height, const float* inputs, const float* bias, float* sums) {
    constexpr int R = Simd::kRealSums / G < 8 ? Simd::kRealSums / G : 8;
    for (int row = 0; row < 16; row += R) {
        Simd::Reals sum[R][G];
        float* at[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const int output = tile.order[row + r];
            at[r] = sums + output * 16 * G;
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g) sum[r][g] = bias ? Simd::reals(bias[output]) : Simd::load(at[r] + 16 * g);
        }
        const float* value = tile.value + row;
        const uint8_t* index = tile.index + row;
        for (int i = 0; i < height; ++i, value += 16, index += 16)
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const Simd::Reals weight = Simd::reals(value[r]);
                const float* x = inputs + index[r] * 16 * G;
#pragma GCC unroll 8
                for (int g = 0; g < G; ++g) Simd::multiply_add(sum[r][g], weight, Simd::load(x + 16 * g));
            }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g) Simd::store(at[r] + 16 * g, sum[r][g]);
    }
}

template <int G>
static int sparse_wide(const qk::Sparse& layer, const float* x, int rows, int32_t window0, int32_t window1, float* out) {
    constexpr int kWide = 16 * G;
    const int64_t outputs = int64_t(window1 - window0) * layer.window;
    auto* columns = static_cast<float*>(qk::scratch(qk::kRowCodes, layer.block * kWide * 4));
    auto* sums = static_cast<float*>(qk::scratch(qk::kRowSums, outputs * kWide * 4));
    if (!columns || !sums) return QK_NO_MEMORY;
    for (int64_t block = 0; block < layer.blocks; ++block) {
        const int64_t first = block * layer.block, left = layer.inputs - first, inputs = left < layer.block ? left : layer.block;
        for (int row = 0; row < rows; ++row)  // which also brings them near
            if (!finite(x + row * int64_t(layer.inputs) + first, inputs)) return QK_NOT_FINITE;
        to_columns(x + first, rows, layer.inputs, inputs, kWide, columns);
        for (int64_t window = window0; window < window1; ++window) {
            SparseTile tile;
            if (!open_tile(layer, window, block, tile)) return QK_BAD_LAYER;
            for (int s = 0; s < tile.slices; ++s) {
                const int height = tile.height[s];
                if (height || !block)
                    sparse_slice<G>(tile, height, columns, block ? nullptr : layer.bias + window * layer.window, sums + (window - window0) * layer.window * kWide);
                tile.value += 16 * height, tile.index += 16 * height, tile.order += 16;
            }
        }
    }
    const int64_t first = int64_t(window0) * layer.window, all = layer.outputs - first < outputs ? layer.outputs - first : outputs;
    to_rows(sums, kWide, all, rows, layer.outputs, out + first);
    return QK_OK;
}

// x: `rows` rows of the batch, at most `wide`, which is 16, 32 or kSparseRows; out: (rows, outputs).
static int sparse_batch(const qk::Sparse& layer, const float* x, int wide, int rows, int32_t window0, int32_t window1, float* out) {
    return (wide == 16 ? sparse_wide<1> : wide == 32 ? sparse_wide<2> : sparse_wide<kSparseRows / 16>)(layer, x, rows, window0, window1, out);
}
