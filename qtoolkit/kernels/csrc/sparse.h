// Sparse weights, compressed by rows (CSR): for each output the values that are not zero, and the inputs they belong to.
//
// At batch 1 every weight costs a *gather*: the inputs lie anywhere, and a gather loads one element at a time, however wide
// the register. That is why 10 % density is not 10 times faster: dense int8 reads 64 weights in one load. With a batch the
// picture changes: inputs are laid out so that 16 rows of the batch are neighbors, one index serves 16 multiply-adds, and a
// zero weight saves all 16. Indices come from a file, so each is clamped to the last input as it is used: a wrong index
// gives a wrong number, never a bad access. Real arithmetic: instruction sets may differ in the last bits.
#pragma once

static void sparse_row(const qk::Sparse& layer, const float* x, int32_t output0, int32_t output1, float* out) {
    for (int32_t o = output0; o < output1; ++o) {
        const int64_t from = layer.start[o], count = layer.start[o + 1] - from;
        out[o] = layer.bias[o] + Simd::gather_dot(x, uint32_t(layer.inputs - 1), layer.index + from, layer.value + from, count);
    }
}

// columns: (inputs, 16 rows of the batch); out: (16, outputs), of which `rows` are wanted
static void sparse_batch(const qk::Sparse& layer, const float* columns, int rows, int32_t output0, int32_t output1, float* out) {
    const uint32_t last = uint32_t(layer.inputs - 1);
    for (int32_t o = output0; o < output1; ++o) {
        Simd::Reals sum = Simd::reals(layer.bias[o]);
        for (int64_t i = layer.start[o], end = layer.start[o + 1]; i < end; ++i) {
            const uint32_t index = uint32_t(layer.index[i]);
            Simd::multiply_add(sum, Simd::reals(layer.value[i]), Simd::load(columns + int64_t(index < last ? index : last) * 16));
        }
        float all[16];
        Simd::store(all, sum);
        for (int r = 0; r < rows; ++r) out[int64_t(r) * layer.outputs + o] = all[r];
    }
}
