// Sparse weights as Deep Compression stores them: for each weight that is not zero one byte says how many zeros lie between it
// and the one before, and one byte is its index into 256 shared values. 2 bytes a weight, where compressed rows take 8.
//
// A place is known only after all places before it: a chain of additions, one a cycle. Four outputs are walked side by side, so
// that four such chains, and four sums, are on their way at once. Each weight then costs four loads (gap, index, value,
// input); no instruction gathers, so there is one text for all instruction sets. With a batch, one walk serves up to 64 rows
// as in sparse.h. An index cannot leave a table of 256; that a row's gaps stay within the inputs is checked by adding them up
// just before the walk, while they come into the nearest cache anyway: a damaged layer is refused, no access is ever bad.
// Real arithmetic: instruction sets may differ in the last bits.
#pragma once

struct Walk {  // along one output's weights
    const uint8_t *gap, *code;
    int64_t left, place;
    float sum;
};

static bool gaps_fit(const qk::RelativeSparse& layer, int32_t o) {
    const uint8_t* gap = layer.gap + layer.start[o];
    const int32_t count = layer.start[o + 1] - layer.start[o];
    if (count > layer.inputs) return false;
    uint64_t sum = uint64_t(count);
    for (int32_t i = 0; i < count;) {
        const int32_t to = count - i < 1 << 20 ? count : i + (1 << 20);
        uint32_t part = 0;
        for (; i < to; ++i) part += gap[i];
        sum += part;
    }
    return sum <= uint64_t(layer.inputs);
}

static inline void step(Walk& walk, int64_t i, const float* x, const float* codebook) {
    walk.place += int64_t(walk.gap[i]) + 1;
    walk.sum += codebook[walk.code[i]] * x[walk.place];
}

static bool relative_row(const qk::RelativeSparse& layer, const float* x, int32_t output0, int32_t output1, float* out) {
    for (int32_t o = output0; o < output1; o += 4) {
        const int many = output1 - o < 4 ? output1 - o : 4;
        Walk walk[4];
        int64_t common = INT64_MAX;
        for (int j = 0; j < 4; ++j) {
            const int32_t from = o + (j < many ? j : 0);
            if (!gaps_fit(layer, from)) return false;
            walk[j] = {layer.gap + layer.start[from], layer.code + layer.start[from], layer.start[from + 1] - layer.start[from], -1, layer.bias[from]};
            common = walk[j].left < common ? walk[j].left : common;
        }
        Walk a = walk[0], b = walk[1], c = walk[2], d = walk[3];
        for (int64_t i = 0; i < common; ++i)
            step(a, i, x, layer.codebook), step(b, i, x, layer.codebook), step(c, i, x, layer.codebook), step(d, i, x, layer.codebook);
        walk[0] = a, walk[1] = b, walk[2] = c, walk[3] = d;
        for (int j = 0; j < many; ++j) {
            for (int64_t i = common; i < walk[j].left; ++i) step(walk[j], i, x, layer.codebook);
            out[o + j] = walk[j].sum;
        }
    }
    return true;
}

struct Gaps {
    const uint8_t* gap;
    int64_t inputs, place;  // `place`: of the weight before, -1 ahead of a row

    bool next(int64_t i, int count, int64_t* places) {  // they increase, so the last one tells whether all of them exist
        for (int f = 0; f < count; ++f) places[f] = place += int64_t(gap[i + f]) + 1;
        return place < inputs;
    }
};

struct GapWeights {
    Gaps gaps;
    const uint8_t* code;
    const float* codebook;

    bool next(int64_t i, int count, int64_t* inputs, Simd::Reals* values) {
        if (!gaps.next(i, count, inputs)) return false;
        for (int f = 0; f < count; ++f) values[f] = Simd::reals(codebook[code[i + f]]);
        return true;
    }
};

template <int G>
static bool relative_wide(const qk::RelativeSparse& layer, const float* columns, int rows, int32_t output0, int32_t output1, float* out) {
    const GapWeights weights{{layer.gap, layer.inputs, -1}, layer.code, layer.codebook};
    return sparse_outputs<G>(layer.outputs, rows, output0, output1, out, [&](int32_t o, float* sums) {
        return sparse_output<G>(columns, layer.start[o], layer.start[o + 1], layer.bias[o], weights, sums);
    });
}

// as sparse_batch; false: the gaps of a row lead beyond the inputs
static bool relative_batch(const qk::RelativeSparse& layer, const float* columns, int wide, int rows, int32_t output0, int32_t output1, float* out) {
    return (wide == 16 ? relative_wide<1> : wide == 32 ? relative_wide<2> : relative_wide<kSparseRows / 16>)(layer, columns, rows, output0, output1, out);
}
