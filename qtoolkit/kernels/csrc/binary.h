// One bit a weight, one bit an input: a product of signs is an exclusive or, a sum of K of them a count of ones.
//
// With 0 for +1 and 1 for -1, two signs differ where the exclusive or is 1, so sum x w = K - 2 popcount(x xor w): one
// instruction each for the exclusive or, the count and the sum now handle 16 outputs x 32 inputs, 512 multiply-adds, eight
// times as many as `vpdpbusd`, and weights take a 32nd of the bytes of float32. Inputs are reduced to their signs first
// (0 counts as +1); unused bits of the last word are 0 on both sides and never differ. Integers until the last step,
// y = scale (K - 2 differences) + bias, so every instruction set gives the same bits (Rastegari et al. 2016, section 3).
// Ternary weights have a second plane of bits, 1 where the weight is not 0: only there a difference counts, and K is how many
// weights of the output are not 0. One `vpternlogd` does both logic steps, so a zero costs a bit of memory and no time.
#pragma once

static void signs_of_row(const float* x, int64_t count, uint32_t* words) {
    int64_t at = 0;
    for (; at + 32 <= count; at += 32) *words++ = Simd::negatives(x + at) | Simd::negatives(x + at + 16) << 16;
    if (at == count) return;
    float last[32] = {};
    for (int64_t i = at; i < count; ++i) last[i - at] = x[i];
    *words = Simd::negatives(last) | Simd::negatives(last + 16) << 16;
}

template <int Planes, int R, int B>
static void binary_tile(const qk::Table& layer, const uint32_t* x, const int8_t* w, int32_t* out) {
    Simd::Sums sums[R][B];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) sums[r][b] = Simd::zero();
    for (int word = 0; word < layer.words; ++word, w += 64 * Planes) {
        Simd::Weights weights[B], where[B];
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) {
            weights[b] = Simd::load(w + b * layer.block_bytes);
            if (Planes == 2) where[b] = Simd::load(w + b * layer.block_bytes + 64);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int b = 0; b < B; ++b)
                if (Planes == 2) Simd::count_differences(sums[r][b], x[r * layer.words + word], weights[b], where[b]);
                else Simd::count_differences(sums[r][b], x[r * layer.words + word], weights[b]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) Simd::store(out + (r * B + b) * 16, sums[r][b]);
}

// y = scale (K - 2 differences) + bias for 16 outputs, where K is `all` or, of ternary weights, those that are not 0
template <int Planes>
static inline void finish_signs(const int32_t* __restrict differ, float all, const float* __restrict kept, const float* __restrict scale,
                                const float* __restrict bias, float* __restrict to) {
    for (int j = 0; j < 16; ++j) to[j] = ((Planes == 2 ? kept[j] : all) - 2.0f * float(differ[j])) * scale[j] + bias[j];
}

template <int Planes>
static void binary_planes(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    constexpr int kTall = Simd::kMostSums >= 16 ? 4 : 2, kWide = Simd::kMostSums >= 16 ? 4 : 1;
    int32_t differences[kTall * kWide * 16];
    const float all = float(layer.taps) * float(layer.inputs);
    for (int block = range.block0, blocks; block < range.block1; block += blocks) {
        blocks = range.block1 - block >= kWide ? kWide : 1;
        for (int64_t row = range.row0, rows; row < range.row1; row += rows) {
            rows = range.row1 - row >= kTall ? kTall : 1;
            const auto compute = rows == 1 ? (blocks == 1 ? binary_tile<Planes, 1, 1> : binary_tile<Planes, 1, kWide>)
                                           : (blocks == 1 ? binary_tile<Planes, kTall, 1> : binary_tile<Planes, kTall, kWide>);
            compute(layer, x + row * layer.words, layer.weight + block * layer.block_bytes, differences);
            for (int64_t r = 0; r < rows; ++r)
                for (int b = 0; b < blocks; ++b)
                    write_block(layer.outputs, block + b, row + r, out, [&](float* to) {
                        const int at = (block + b) * 16;
                        const float* kept = Planes == 2 ? layer.kept + at : nullptr;
                        finish_signs<Planes>(differences + (r * blocks + b) * 16, all, kept, layer.scale + at, layer.bias + at, to);
                    });
        }
    }
}

static void binary(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    (layer.bits == 2 ? binary_planes<2> : binary_planes<1>)(layer, x, range, out);
}
