// Shared weights (Deep Compression, section 3): each weight is an index of 4 or 5 bits into a table of 16 or 32 real numbers.
//
// The whole table fits one or two AVX-512 registers, so `vpermt2ps` looks up the weights of 16 outputs at once, with no
// memory access; then one multiply-add. A 32-bit word holds the indices of 8 (or 6) neighboring inputs of one output: shifting
// it brings the next index down, and the instruction ignores the bits above. (With 16 entries the table is stored twice, so
// that a stray fifth bit does no harm.) A look-up serves every row of the tile. At batch 1 the weights are 8 times
// fewer bytes than float32; the two instructions a weight become the limit. Real arithmetic: instruction sets may differ
// in the last bits. A table of 256 entries does not fit registers: decode such a layer once instead.
#pragma once

template <int Bits, int R, int B>
static void codebook_tile(const qk::Table& layer, const float* x, int64_t padded, const int8_t* w, float* out) {
    constexpr int kInputs = 32 / Bits;
    const Simd::Table table = Simd::table(layer.entries);
    Simd::Reals total[R][B];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) total[r][b] = Simd::reals(0.0f);
    for (int word = 0; word < layer.words; ++word, w += 64, x += kInputs)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) {
            const Simd::Weights words = Simd::load(w + b * layer.block_bytes);
#pragma GCC unroll 8
            for (int i = 0; i < kInputs; ++i) {
                const Simd::Reals weights = Simd::look_up(table, words, Bits * i);
#pragma GCC unroll 4
                for (int r = 0; r < R; ++r) Simd::multiply_add(total[r][b], Simd::reals(x[r * padded + i]), weights);
            }
        }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) Simd::store(out + (r * B + b) * 16, total[r][b]);
}

template <int Bits>
static void codebook_bits(const qk::Table& layer, const float* x, qk::Range range, float* out) {
    constexpr int kWide = Simd::kMostSums >= 16 ? 4 : 1;
    const int64_t padded = int64_t(layer.words) * (32 / Bits);
    float totals[4 * kWide * 16];
    for (int block = range.block0, blocks; block < range.block1; block += blocks) {
        blocks = range.block1 - block >= kWide ? kWide : 1;
        for (int64_t row = range.row0, rows; row < range.row1; row += rows) {
            rows = range.row1 - row >= 4 ? 4 : 1;
            const auto compute = rows == 1 ? (blocks == 1 ? codebook_tile<Bits, 1, 1> : codebook_tile<Bits, 1, kWide>)
                                           : (blocks == 1 ? codebook_tile<Bits, 4, 1> : codebook_tile<Bits, 4, kWide>);
            compute(layer, x + row * padded, padded, layer.weight + block * layer.block_bytes, totals);
            for (int64_t r = 0; r < rows; ++r)
                for (int b = 0; b < blocks; ++b)
                    write_block(layer.outputs, block + b, row + r, out, [&](float* to) {
                        const float *total = totals + (r * blocks + b) * 16, *bias = layer.bias + (block + b) * 16;
                        for (int j = 0; j < 16; ++j) to[j] = total[j] + bias[j];
                    });
        }
    }
}

static void codebook(const qk::Table& layer, const float* x, qk::Range range, float* out) {
    (layer.bits == 4 ? codebook_bits<4> : codebook_bits<5>)(layer, x, range, out);
}
