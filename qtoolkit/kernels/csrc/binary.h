// One bit a weight, one bit an input: a product of signs is an exclusive or, a sum of K of them a count of ones.
//
// With 0 for +1 and 1 for -1, two signs differ where the exclusive or is 1, so sum x w = K - 2 popcount(x xor w): one
// instruction each for the exclusive or, the count and the sum now handle 16 outputs x 32 inputs, 512 multiply-adds, eight
// times as many as `vpdpbusd`, and weights take a 32nd of the bytes of float32. Inputs are reduced to their signs first
// (0 counts as +1); unused bits of the last word are 0 on both sides and never differ. Integers until the last step,
// y = scale (K - 2 differences) + bias, so every instruction set gives the same bits (Rastegari et al. 2016, section 3).
#pragma once

static void signs_of_row(const float* x, int64_t count, uint32_t* words) {
    for (int64_t at = 0; at < count; at += 32, ++words) {
        float last[32] = {};
        const float* from = x + at;
        if (count - at < 32) {
            for (int64_t i = 0; i < count - at; ++i) last[i] = x[at + i];
            from = last;
        }
        *words = Simd::negatives(from) | Simd::negatives(from + 16) << 16;
    }
}

template <int R, int B>
static void binary_tile(const qk::Table& layer, const uint32_t* x, const int8_t* w, int32_t* out) {
    Simd::Sums sums[R][B];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) sums[r][b] = Simd::zero();
    for (int word = 0; word < layer.words; ++word, w += 64) {
        Simd::Weights weights[B];
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) weights[b] = Simd::load(w + b * layer.block_bytes);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int b = 0; b < B; ++b) Simd::count_differences(sums[r][b], x[r * layer.words + word], weights[b]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) Simd::store(out + (r * B + b) * 16, sums[r][b]);
}

static void binary(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    constexpr int kTall = Simd::kMostSums >= 16 ? 4 : 2, kWide = Simd::kMostSums >= 16 ? 4 : 1;
    int32_t differences[kTall * kWide * 16];
    for (int block = range.block0, blocks; block < range.block1; block += blocks) {
        blocks = range.block1 - block >= kWide ? kWide : 1;
        for (int64_t row = range.row0, rows; row < range.row1; row += rows) {
            rows = range.row1 - row >= kTall ? kTall : 1;
            const auto compute = rows == 1 ? (blocks == 1 ? binary_tile<1, 1> : binary_tile<1, kWide>)
                                           : (blocks == 1 ? binary_tile<kTall, 1> : binary_tile<kTall, kWide>);
            compute(layer, x + row * layer.words, layer.weight + block * layer.block_bytes, differences);
            for (int64_t r = 0; r < rows; ++r)
                for (int b = 0; b < blocks; ++b)
                    write_block(layer.outputs, block + b, row + r, out, [&](float* to) {
                        const int32_t* differ = differences + (r * blocks + b) * 16;
                        const float *scale = layer.scale + (block + b) * 16, *bias = layer.bias + (block + b) * 16;
                        for (int j = 0; j < 16; ++j) to[j] = float(layer.inputs - 2 * differ[j]) * scale[j] + bias[j];
                    });
        }
    }
}
