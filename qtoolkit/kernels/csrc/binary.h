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

typedef void (*SignTile)(const qk::Table& layer, const uint32_t* x, int block, float* out, int64_t pitch);

// y = scale (K - 2 differences) + bias for R rows and B blocks, `pitch` floats from row to row; K counts all inputs or, of ternary
// weights, those that are not 0.
template <int Planes, int R, int B>
static void sign_tile(const qk::Table& layer, const uint32_t* x, int block, float* out, int64_t pitch) {
    const int8_t* w = layer.weight + block * layer.block_bytes;
    Simd::Sums sums[R][B];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) sums[r][b] = Simd::zero();
    for (int word = 0; word < layer.words; ++word, w += 64 * Planes) {
        Simd::Weights weights[B], where[B];
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
            weights[b] = Simd::load(w + b * layer.block_bytes);
            if (Planes == 2) where[b] = Simd::load(w + b * layer.block_bytes + 64);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int b = 0; b < B; ++b)
                if (Planes == 2) Simd::count_differences(sums[r][b], x[r * layer.words + word], weights[b], where[b]);
                else Simd::count_differences(sums[r][b], x[r * layer.words + word], weights[b]);
    }
    const Simd::Reals all = Simd::reals(float(layer.taps) * float(layer.inputs));
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) {
        const int at = (block + b) * 16;
        const Simd::Reals kept = Planes == 2 ? Simd::load(layer.kept + at) : all, scale = Simd::load(layer.scale + at), bias = Simd::load(layer.bias + at);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) Simd::store(out + r * pitch + b * 16, Simd::sum_of_signs(sums[r][b], kept, scale, bias));
    }
}

template <int Planes, int R, int B>
static SignTile find_sign_tile(int rows, int blocks) {  // the instance for run-time numbers
    if constexpr (R > 1)
        if (rows < R) return find_sign_tile<Planes, R - 1, B>(rows, blocks);
    if constexpr (B > 1)
        if (blocks < B) return find_sign_tile<Planes, R, B - 1>(rows, blocks);
    return sign_tile<Planes, R, B>;
}

template <int Planes>
static void binary_planes(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    constexpr int kTall = Simd::kMostSums >= 16 ? 4 : 2, kWide = Simd::kMostSums >= 16 ? 4 : 1;
    int panels = (range.block1 - range.block0 + kWide - 1) / kWide;
    for (int block = range.block0, blocks; panels; block += blocks, --panels) {
        blocks = share_of(range.block1 - block, panels);
        const bool whole = (block + blocks) * 16 <= layer.outputs;  // else the last block is partly filled
        int64_t groups = (range.row1 - range.row0 + kTall - 1) / kTall;
        for (int64_t row = range.row0, rows; groups; row += rows, --groups) {
            rows = share_of(range.row1 - row, groups);
            const SignTile compute = find_sign_tile<Planes, kTall, kWide>(int(rows), blocks);
            const uint32_t* words = x + row * layer.words;
            float* to = out + row * layer.outputs + block * 16;
            if (whole) {
                compute(layer, words, block, to, layer.outputs);
                continue;
            }
            float all[kTall * kWide * 16];
            compute(layer, words, block, all, blocks * 16);
            for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(to + r * layer.outputs, all + r * blocks * 16, sizeof(float) * (layer.outputs - block * 16));
        }
    }
}

static void binary(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    (layer.bits == 2 ? binary_planes<2> : binary_planes<1>)(layer, x, range, out);
}
