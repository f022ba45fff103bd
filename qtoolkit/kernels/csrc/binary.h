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

// The differences of R rows and B blocks, word by word.
template <int Planes, int R, int B>
static inline void count_words(const qk::Table& layer, const uint32_t* x, int first, const int8_t* w, Simd::Sums (&sums)[R][B]) {
    for (int word = first; word < layer.words; ++word) {
        Simd::Weights weights[B], where[B];
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
            weights[b] = Simd::load(w + b * layer.block_bytes + word * Planes * 64);
            if (Planes == 2) where[b] = Simd::load(w + b * layer.block_bytes + word * 128 + 64);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int b = 0; b < B; ++b)
                if (Planes == 2) Simd::count_differences(sums[r][b], x[r * layer.words + word], weights[b], where[b]);
                else Simd::count_differences(sums[r][b], x[r * layer.words + word], weights[b]);
    }
}

// Two words for one count. Write `odd` for the parity of all differences so far, bit by bit. A pair of words with differences s and t
// changes it to odd xor s xor t, and where two of the three were 1 there is a carry: each counts twice. The parity is that of the
// inputs xor that of the weights, so it takes one exclusive or, and the carry is known from the parities before and after and
// from s: five instructions for a pair, where six count it word by word (AVX2, whose counts are long: 15 instead of 20). Of every
// second input word, x holds the parity so far.
template <class S, int R, int B>
static inline void count_pairs(const qk::Table& layer, const uint32_t* x, const int8_t* w, typename S::Sums (&sums)[R][B]) {
    typename S::Weights odd[R][B], of_weights[B];
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) of_weights[b] = S::nothing();
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) odd[r][b] = S::nothing();
    for (int word = 0; word + 2 <= layer.words; word += 2) {
        typename S::Weights weights[B];
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
            weights[b] = S::load(w + b * layer.block_bytes + word * 64);
            of_weights[b] = S::parity(of_weights[b], weights[b], S::load(w + b * layer.block_bytes + word * 64 + 64));
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int b = 0; b < B; ++b) {
                typename S::Weights after = S::differences(x[r * layer.words + word + 1], of_weights[b]);
                S::count_ones(sums[r][b], S::carries(odd[r][b], S::differences(x[r * layer.words + word], weights[b]), after));
                S::fence(after);  // one after the other: all at once would not fit the registers
                odd[r][b] = after;
            }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) S::add(sums[r][b], sums[r][b]), S::count_ones(sums[r][b], odd[r][b]);
}

// The input words as count_pairs wants them; null if there is no memory.
static const uint32_t* with_parities(const uint32_t* x, int64_t rows, int words) {
    auto* to = static_cast<uint32_t*>(qk::scratch(qk::kParities, rows * words * 4));
    for (int64_t row = 0; to && row < rows; ++row) {
        uint32_t* at = to + row * words;
        __builtin_memcpy(at, x + row * words, sizeof(uint32_t) * words);
        uint32_t odd = 0;
        for (int word = 1; word < words; word += 2) at[word] = odd ^= at[word - 1] ^ at[word];
    }
    return to;
}

typedef void (*SignTile)(const qk::Table& layer, const uint32_t* x, int block, float* out, int64_t pitch);

// y = scale (K - 2 differences) + bias for R rows and B blocks, `pitch` floats from row to row; K counts all inputs or, of ternary
// weights, those that are not 0.
template <int Planes, bool Pairs, int R, int B>
static void sign_tile(const qk::Table& layer, const uint32_t* x, int block, float* out, int64_t pitch) {
    const int8_t* w = layer.weight + block * layer.block_bytes;
    Simd::Sums sums[R][B];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) sums[r][b] = Simd::zero();
    if constexpr (Pairs) count_pairs<Simd, R, B>(layer, x, w, sums);
    count_words<Planes, R, B>(layer, x, Pairs ? layer.words / 2 * 2 : 0, w, sums);
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

template <int Planes, bool Pairs, int R, int B>
static SignTile find_sign_tile(int rows, int blocks) {  // the instance for run-time numbers
    if constexpr (R > 1)
        if (rows < R) return find_sign_tile<Planes, Pairs, R - 1, B>(rows, blocks);
    if constexpr (B > 1)
        if (blocks < B) return find_sign_tile<Planes, Pairs, R, B - 1>(rows, blocks);
    return sign_tile<Planes, Pairs, R, B>;
}

// x and out begin with the first row of the range.
template <int Planes, bool Pairs>
static void sign_panels(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    constexpr bool many = Simd::kMostSums >= 16;
    constexpr int kTall = many ? 4 : 2, kWide = !many ? 1 : Pairs ? 2 : 4;
    const int64_t count = range.row1 - range.row0;
    int panels = (range.block1 - range.block0 + kWide - 1) / kWide;
    for (int block = range.block0, blocks; panels; block += blocks, --panels) {
        blocks = share_of(range.block1 - block, panels);
        const bool whole = (block + blocks) * 16 <= layer.outputs;  // else the last block is partly filled
        int64_t groups = (count + kTall - 1) / kTall;
        for (int64_t row = 0, rows; groups; row += rows, --groups) {
            rows = share_of(count - row, groups);
            const SignTile compute = find_sign_tile<Planes, Pairs, kTall, kWide>(int(rows), blocks);
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

// False: no memory.
template <int Planes, class S = Simd>
static bool binary_planes(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    if (signs_by_tiles<Planes>(layer, x, range, out)) return true;
    x += range.row0 * layer.words, out += range.row0 * layer.outputs;
    if constexpr (Planes == 1 && S::kCarries)
        if (range.row1 - range.row0 >= 4) {  // below, reading the weights takes the time
            x = with_parities(x, range.row1 - range.row0, layer.words);
            if (x) sign_panels<1, true>(layer, x, range, out);
            return x;
        }
    sign_panels<Planes, false>(layer, x, range, out);
    return true;
}

static bool binary(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    return (layer.bits == 2 ? binary_planes<2> : binary_planes<1>)(layer, x, range, out);
}
