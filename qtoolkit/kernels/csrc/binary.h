// One bit a weight, one bit an input: a product of signs is an exclusive or, a sum of K of them a count of ones.
//
// With 0 for +1 and 1 for -1, two signs differ where the exclusive or is 1, so sum x w = K - 2 popcount(x xor w): one
// instruction each for the exclusive or, the count and the sum now handle 16 outputs x 32 inputs, 512 multiply-adds, eight
// times as many as `vpdpbusd`, and weights take a 32nd of the bytes of float32. Inputs are reduced to their signs first
// (0 counts as +1); unused bits of the last word are 0 on both sides and never differ. Integers until the last step,
// y = scale (K - 2 differences) + bias, so every instruction set gives the same bits (Rastegari et al. 2016, section 3).
// Ternary weights have a second plane of bits, 1 where the weight is not 0: only there a difference counts, and K is how many
// weights of the output are not 0. One `vpternlogd` does both logic steps, so a zero costs a bit of memory and no time.
// Where a matrix unit multiplies bytes faster than this counts ones, many rows go to sign_tiles.h.
#pragma once

// The signs of rows of k numbers as bits, each row from a new word on, and whether all numbers are finite: 0 times one of them is 0,
// times infinity or NaN it is NaN.
static bool signs_of_rows(const float* x, int64_t rows, int64_t k, uint32_t* words) {
    const Simd::Reals zero = Simd::reals(0);
    Simd::Reals checks[4] = {zero, zero, zero, zero};
    const auto word_of = [&](const float* from, int at) {
        Simd::multiply_add(checks[at], Simd::load(from), zero), Simd::multiply_add(checks[at + 1], Simd::load(from + 16), zero);
        return Simd::negatives(from) | Simd::negatives(from + 16) << 16;
    };
    if (k % 32 == 0) k *= rows, rows = 1;  // no word is shared: one long row
    for (int64_t row = 0; row < rows; ++row, x += k) {
        int64_t at = 0;
        for (; at + 64 <= k; at += 64, words += 2) words[0] = word_of(x + at, 0), words[1] = word_of(x + at + 32, 2);
        for (; at < k; at += 32) {
            float last[32] = {};
            for (int64_t i = at; i < k && i < at + 32; ++i) last[i - at] = x[i];
            *words++ = word_of(last, 0);
        }
    }
    for (int i = 1; i < 4; ++i) Simd::multiply_add(checks[0], checks[i], Simd::reals(1));
    float sums[16];
    Simd::store(sums, checks[0]);
    return largest_bits(sums, 16) == 0;
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
    Simd::Reals kept[B], scale[B], bias[B];
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) {
        const int at = (block + b) * 16;
        kept[b] = Planes == 2 ? Simd::load(layer.kept + at) : all, scale[b] = Simd::load(layer.scale + at), bias[b] = Simd::load(layer.bias + at);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) Simd::store(out + r * pitch + b * 16, Simd::sum_of_signs(sums[r][b], kept[b], scale[b], bias[b]));
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
    if (signs_by_tiles<Planes>(layer, x, range, out)) return;
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
