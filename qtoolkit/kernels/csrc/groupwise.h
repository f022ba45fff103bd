// Weights of 4 or 2 bits with a scale for each group of inputs, activations of 8 bits: y = s_x sum_g s_g (sum_k q_x q_w) + b.
//
// At batch 1 a layer costs what its weights cost to read, so 4 bits are twice as fast as 8. 64 bytes hold 8 (or, with 2 bits,
// 16) inputs of 16 outputs; a shift and a mask turn them into registers of unsigned codes, which multiply the int8 inputs as
// in gemm_tile.h. Codes are stored without sign (q + 8 or q + 2): sum x q = sum x (q + 8) - 8 sum x, and sum x is known
// beforehand for each row and group. At the end of a group the exact integer becomes a real number and meets the group's
// scale, which lies in front of its codes: the whole layer is one sequential stream. Ternary weights are the case
// of 2 bits with codes -1, 0, 1. The order of all roundings is that of reference.groupwise_linear.
#pragma once

template <int Bits, int R, int B>
static void group_tile(const qk::Groupwise& layer, const int8_t* x, const int32_t* input_sums, const int8_t* w, float* out) {
    constexpr int kInputs = 32 / Bits, kZero = 1 << (Bits - 1);  // inputs in 64 bytes; the stored code of 0
    const int64_t row = int64_t(layer.groups) * layer.group, group_bytes = 64 + 2 * Bits * layer.group;
    Simd::Reals total[R][B];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) total[r][b] = Simd::reals(0.0f);
    for (int g = 0; g < layer.groups; ++g, w += group_bytes, x += layer.group) {
        Simd::Sums sums[R][B];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int b = 0; b < B; ++b) sums[r][b] = Simd::zero();
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) fetch_ahead(w + b * layer.block_bytes);  // scales
        const int8_t* codes = w + 64;
        for (int k = 0; k < layer.group; k += kInputs, codes += 64)
#pragma GCC unroll 4
            for (int b = 0; b < B; ++b) {
                const Simd::Weights packed = Simd::load(codes + b * layer.block_bytes);
                fetch_ahead(codes + b * layer.block_bytes);
#pragma GCC unroll 4
                for (int part = 0; part < 8 / Bits; ++part) {
                    const Simd::Weights weights = Simd::unpack<Bits>(packed, part);
#pragma GCC unroll 4
                    for (int r = 0; r < R; ++r) Simd::dot_small(sums[r][b], Simd::spread(x + r * row + k + 4 * part), weights);
                }
            }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int b = 0; b < B; ++b)
                Simd::add_scaled(total[r][b], sums[r][b], kZero * input_sums[r * layer.groups + g],
                                 reinterpret_cast<const float*>(w + b * layer.block_bytes));
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) Simd::store(out + (r * B + b) * 16, total[r][b]);
}

typedef void (*GroupTile)(const qk::Groupwise&, const int8_t*, const int32_t*, const int8_t*, float*);

template <int Bits>
static void groupwise_bits(const qk::Groupwise& layer, const int8_t* x, const int32_t* input_sums, const float* row_scale,
                           qk::Range range, float* out) {
    constexpr int kTall = 4, kPair = Simd::kMostSums >= 16 ? 2 : 1;  // a lone row takes twice as many blocks at once
    static constexpr GroupTile lone[] = {group_tile<Bits, 1, 1>, group_tile<Bits, 1, kPair>, group_tile<Bits, 1, 2 * kPair>};
    static constexpr GroupTile tiles[kTall][2] = {{lone[0], lone[1]},
                                                  {group_tile<Bits, 2, 1>, group_tile<Bits, 2, kPair>},
                                                  {group_tile<Bits, 3, 1>, group_tile<Bits, 3, kPair>},
                                                  {group_tile<Bits, 4, 1>, group_tile<Bits, 4, kPair>}};
    const int wide = range.row1 - range.row0 == 1 ? 2 * kPair : kPair;
    const int64_t row_bytes = int64_t(layer.groups) * layer.group;
    float totals[kTall * 2 * kPair * 16];
    for (int block = range.block0, blocks; block < range.block1; block += blocks) {
        blocks = range.block1 - block >= wide ? wide : 1;
        for (int64_t row = range.row0, rows; row < range.row1; row += rows) {
            rows = range.row1 - row < kTall ? range.row1 - row : kTall;
            const GroupTile compute = blocks > kPair ? lone[2] : tiles[rows - 1][blocks == kPair];
            compute(layer, x + row * row_bytes, input_sums + row * layer.groups,
                    layer.weight + block * layer.block_bytes, totals);
            for (int64_t r = 0; r < rows; ++r)
                for (int b = 0; b < blocks; ++b)
                    write_block(layer.outputs, block + b, row + r, out, [&](float* to) {
                        const float *total = totals + (r * blocks + b) * 16, *bias = layer.bias + (block + b) * 16;
                        for (int j = 0; j < 16; ++j) to[j] = total[j] * row_scale[row + r] + bias[j];
                    });
        }
    }
}

static void groupwise(const qk::Groupwise& layer, const int8_t* x, const int32_t* input_sums, const float* row_scale,
                      qk::Range range, float* out) {
    (layer.bits == 4 ? groupwise_bits<4> : groupwise_bits<2>)(layer, x, input_sums, row_scale, range, out);
}
