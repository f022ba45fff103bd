// Sparse weights as Deep Compression stores them: for each weight that is not zero one byte says how many zeros lie between it
// and the one before, and one byte is its index into 256 shared values. 2 bytes a weight, where compressed rows take 8.
//
// A place is known only after all places before it: a chain of additions, one a cycle. That is no more than the four loads of a
// weight take (gap, index, value, input), so outputs are walked one after the other; four sums let additions of real numbers, which
// take longer, overlap. No instruction gathers, so there is one text for all instruction sets. With a batch, one walk serves up to
// 64 rows (columns.h). An index cannot leave a table of 256; places increase, so it is enough to compare the last of each eight
// (with a batch four) with the number of inputs before any of them is read: a damaged layer is refused, no access is ever bad.
// Real arithmetic: instruction sets may differ in the last bits.
#pragma once

struct Gaps {
    const uint8_t* gap;
    int64_t inputs, place;  // `place`: of the weight before, -1 ahead of a row

    bool next(int64_t i, int count, int64_t* places) {  // they increase, so the last one tells whether all of them exist
        for (int f = 0; f < count; ++f) places[f] = place += int64_t(gap[i + f]) + 1;
        return place < inputs;
    }
};

// sum[0] + ... + sum[3] += the products of weights i .. end - 1
static inline bool relative_output(Gaps gaps, const uint8_t* code, const float* codebook, int64_t i, int64_t end, const float* x, float* sum) {
    int64_t places[8];
    const auto add = [&](int count) __attribute__((always_inline)) {
        if (!gaps.next(i, count, places)) return false;
        for (int f = 0; f < count; ++f) sum[f % 4] += codebook[code[i + f]] * x[places[f]];
        i += count;
        return true;
    };
    while (i + 8 <= end)
        if (!add(8)) return false;
    while (i < end)
        if (!add(1)) return false;
    return true;
}

static bool relative_row(const qk::RelativeSparse& layer, const float* x, int32_t output0, int32_t output1, float* out) {
    const qk::RelativeSparse l = layer;  // a copy, whose pointers stay in registers
    for (int32_t o = output0; o < output1; ++o) {
        float sum[4] = {l.bias[o]};
        if (!relative_output({l.gap, l.inputs, -1}, l.code, l.codebook, l.start[o], l.start[o + 1], x, sum)) return false;
        out[o] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
    return true;
}

// One output for 16 G rows of the batch. A multiply-add must wait for the one before on the same sum: so that enough are on their way
// at once, neighboring weights go to F different sums where the rows alone are too few.
template <int G>
static inline bool relative_sums(Gaps gaps, const uint8_t* code, const float* codebook, int64_t i, int64_t end, float bias, const float* columns,
                                 float* sums) {
    constexpr int kEnough = Simd::kRealSums < 8 ? Simd::kRealSums : 8, F = kEnough / G < 4 ? kEnough / G : 4;
    Simd::Reals sum[F][G], weights[4];
    int64_t places[4];
    const auto add = [&](int count) __attribute__((always_inline)) {
        if (!gaps.next(i, count, places)) return false;
        for (int f = 0; f < count; ++f) weights[f] = Simd::reals(codebook[code[i + f]]);
#pragma GCC unroll 4
        for (int f = 0; f < count; ++f)
#pragma GCC unroll 4
            for (int g = 0; g < G; ++g) Simd::multiply_add(sum[f % F][g], weights[f], Simd::load(columns + 16 * (G * places[f] + g)));
        i += count;
        return true;
    };
#pragma GCC unroll 4
    for (int f = 0; f < F; ++f)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) sum[f][g] = Simd::reals(f ? 0.0f : bias);
    while (i + 4 <= end)
        if (!add(4)) return false;
    while (i < end)
        if (!add(1)) return false;
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
#pragma GCC unroll 4
        for (int f = 1; f < F; ++f) Simd::multiply_add(sum[0][g], Simd::reals(1.0f), sum[f][g]);
        Simd::store(sums + 16 * g, sum[0][g]);
    }
    return true;
}

template <int G>
static bool relative_wide(const qk::RelativeSparse& layer, const float* columns, int rows, int32_t output0, int32_t output1, float* out) {
    const qk::RelativeSparse l = layer;
    float sums[16][16 * G];
    for (int32_t o = output0, many; o < output1; o += many) {
        many = output1 - o < 16 ? output1 - o : 16;
        for (int j = 0; j < many; ++j)
            if (!relative_sums<G>({l.gap, l.inputs, -1}, l.code, l.codebook, l.start[o + j], l.start[o + j + 1], l.bias[o + j], columns, sums[j]))
                return false;
        to_rows(sums[0], 16 * G, many, rows, l.outputs, out + o);
    }
    return true;
}

// columns: (inputs, `wide`), wide 16, 32 or kSparseRows, of which `rows` are rows of the batch; out: (rows, outputs). False: the gaps of
// a row lead beyond the inputs.
static bool relative_batch(const qk::RelativeSparse& layer, const float* columns, int wide, int rows, int32_t output0, int32_t output1, float* out) {
    return (wide == 16 ? relative_wide<1> : wide == 32 ? relative_wide<2> : relative_wide<kSparseRows / 16>)(layer, columns, rows, output0, output1, out);
}
