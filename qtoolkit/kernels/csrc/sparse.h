// Sparse weights, compressed by rows (CSR): for each output the values that are not zero, and the inputs they belong to.
//
// At batch 1 every weight costs a *gather*: the inputs lie anywhere, and a gather loads one element at a time, however wide
// the register. That is why 10 % density is not 10 times faster: dense int8 reads 64 weights in one load. With a batch the
// picture changes: inputs are laid out so that 16, 32 or 64 rows of the batch are neighbors, one index serves as many
// multiply-adds, and a zero weight saves them all. What limits it then is the way from the second cache: every weight touches
// inputs anywhere, more of them than the first cache holds, so a line comes over for each multiply-add of 16 rows. Indices come from
// a file. A batch compares them with the number of inputs first; one row, which reads each only once, clamps them to the last input and
// keeps the highest seen: a damaged layer is refused, no access is ever bad. Real arithmetic: instruction sets may differ in the last
// bits.
#pragma once

static bool indices_fit(const qk::Sparse& layer, int32_t output0, int32_t output1) {
    uint32_t highest = 0;  // a negative index is a high one
    for (int32_t i = layer.start[output0]; i < layer.start[output1]; ++i) highest = uint32_t(layer.index[i]) > highest ? uint32_t(layer.index[i]) : highest;
    return highest < uint32_t(layer.inputs);
}

// False: an index leads outside.
static bool sparse_row(const qk::Sparse& layer, const float* x, int32_t output0, int32_t output1, float* out) {
    uint32_t highest = 0;
    for (int32_t o = output0; o < output1; ++o) {
        const int64_t from = layer.start[o], count = layer.start[o + 1] - from;
        out[o] = layer.bias[o] + Simd::gather_dot(x, uint32_t(layer.inputs - 1), layer.index + from, layer.value + from, count, highest);
    }
    return highest < uint32_t(layer.inputs);
}

constexpr int kSparseRows = Simd::kWide ? 64 : 32;  // of a batch at once: as many as leave their sums in registers

// One output for 16 G rows of the batch. A multiply-add must wait for the one before on the same sum: so that enough are on their way
// at once, neighboring weights go to F different sums where the rows alone are too few. weights.next(i, count, inputs, values) tells
// the inputs and spread values of weights i, i + 1, ..., or returns false if an input does not exist; it is called in this order, with a
// count of 4 or 1.
template <int G, class Weights>
static inline bool sparse_output(const float* columns, int64_t i, int64_t end, float bias, Weights weights, float* sums) {
    constexpr int F = Simd::kRealSums / G < 4 ? Simd::kRealSums / G : 4;
    Simd::Reals sum[F][G], values[4];
    int64_t inputs[4];
    const auto add = [&](int count) __attribute__((always_inline)) {
        if (!weights.next(i, count, inputs, values)) return false;
#pragma GCC unroll 4
        for (int f = 0; f < count; ++f)
#pragma GCC unroll 4
            for (int g = 0; g < G; ++g) Simd::multiply_add(sum[f % F][g], values[f], Simd::load(columns + 16 * (G * inputs[f] + g)));
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

// to[j][i] = from[i][j] for 16 x 16 floats
template <class S>
static inline void transpose16(const float* from, int64_t pitch, float* to, int64_t to_pitch) {
    if constexpr (S::kWide) {
        typename S::Reals rows[16];
        for (int i = 0; i < 16; ++i) rows[i] = S::load(from + i * pitch);
        S::transpose(rows);
        for (int i = 0; i < 16; ++i) S::store(to + i * to_pitch, rows[i]);
    } else {
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < 16; ++j) to[j * to_pitch + i] = from[i * pitch + j];
    }
}

// (rows, k) to (k, wide), zeros where there is no row
static void to_columns(const float* x, int64_t rows, int64_t k, int64_t wide, float* columns) {
    for (int64_t from = 0; from < k; from += 16) {
        const int64_t to = from + 16 < k ? from + 16 : k;
        for (int64_t row = 0; row < wide; row += 16) {
            if (to - from == 16 && row + 16 <= rows) {
                transpose16<Simd>(x + row * k + from, k, columns + from * wide + row, wide);
                continue;
            }
            for (int64_t r = row; r < row + 16; ++r)
                for (int64_t i = from; i < to; ++i) columns[i * wide + r] = r < rows ? x[r * k + i] : 0;
        }
    }
}

// `one_output(o, sums)` for every output, until it returns false
template <int G, class Output>
static bool sparse_outputs(int32_t outputs, int rows, int32_t output0, int32_t output1, float* out, Output one_output) {
    float sums[16][16 * G];  // of 16 outputs: a row of `out` then receives a whole cache line, at once or one number after the other
    for (int32_t o = output0, many; o < output1; o += many) {
        many = output1 - o < 16 ? output1 - o : 16;
        for (int j = 0; j < many; ++j)
            if (!one_output(o + j, sums[j])) return false;
        int r = 0;
        for (; Simd::kWide && many == 16 && r + 16 <= rows; r += 16) transpose16<Simd>(&sums[0][r], 16 * G, out + int64_t(r) * outputs + o, outputs);
        for (; r < rows; ++r)
            for (int j = 0; j < many; ++j) out[int64_t(r) * outputs + o + j] = sums[j][r];
    }
    return true;
}

// to[f] = from[f] in every lane, for 4 values
template <class S>
static inline void spread_each(const float* from, typename S::Reals* to) {
    if constexpr (S::kWide) S::spread_each(from, to);
    else for (int f = 0; f < 4; ++f) to[f] = S::reals(from[f]);
}

struct RowWeights {
    const int32_t* index;
    const float* value;

    bool next(int64_t i, int count, int64_t* inputs, Simd::Reals* values) const {
        for (int f = 0; f < count; ++f) inputs[f] = index[i + f];
        if (count == 4) spread_each<Simd>(value + i, values);
        else values[0] = Simd::reals(value[i]);
        return true;
    }
};

template <int G>
static bool sparse_wide(const qk::Sparse& layer, const float* columns, int rows, int32_t output0, int32_t output1, float* out) {
    const RowWeights weights{layer.index, layer.value};
    return indices_fit(layer, output0, output1) && sparse_outputs<G>(layer.outputs, rows, output0, output1, out, [&](int32_t o, float* sums) {
        return sparse_output<G>(columns, layer.start[o], layer.start[o + 1], layer.bias[o], weights, sums);
    });
}

// columns: (inputs, `wide`), wide 16, 32 or kSparseRows, of which `rows` are rows of the batch; out: (rows, outputs). False: an
// index leads outside.
static bool sparse_batch(const qk::Sparse& layer, const float* columns, int wide, int rows, int32_t output0, int32_t output1, float* out) {
    return (wide == 16 ? sparse_wide<1> : wide == 32 ? sparse_wide<2> : sparse_wide<kSparseRows / 16>)(layer, columns, rows, output0, output1, out);
}
