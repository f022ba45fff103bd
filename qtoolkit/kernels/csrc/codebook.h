// Shared weights (Deep Compression, section 3): each weight is an index of 4 or 5 bits into a table of 16 or 32 real numbers.
//
// The whole table fits one or two AVX-512 registers, so `vpermps` looks up the weights of 16 outputs at once, with no
// memory access; then one multiply-add. A 32-bit word holds the indices of 8 (or 6) neighboring inputs of one output: shifting
// it brings the next index down, and the instruction ignores the bits above. Of indices of 4 bits every second one begins a byte:
// a load from there costs less than a shift, which competes with look-ups for the processor's units. A look-up serves every row of
// the tile. At batch 1 the weights are 8 times fewer bytes than float32, and two and a half instructions a weight take as long as
// to read them: blocks side by side keep the units busy while `fetch_ahead` has the next weights brought. Real arithmetic:
// instruction sets may differ in the last bits. A table of 256 entries does not fit registers: decode such a layer once instead.
#pragma once

// One word of B blocks: 8 or 6 inputs, two by two, so that neighboring multiply-adds go to different sums. The last word of all has
// no bytes behind it to load from. The fence keeps the compiler from loading twice, across two lines of the cache, what it can shift
// in a register, and from holding the words of many blocks until their last index, for which registers do not suffice.
template <int Bits, bool kLast, int R, int B>
static inline void codebook_step(Simd::Reals (&total)[R][B], const Simd::Table& table, const float* x, int64_t padded, const int8_t* w,
                                 int64_t block_bytes) {
    constexpr bool kByByte = Bits == 4 && !kLast;
#pragma GCC unroll 4
    for (int i = 0; i < 32 / Bits; i += 2)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
            if (i == 0) fetch_ahead<512>(w + b * block_bytes);
            Simd::Weights words = Simd::load(w + b * block_bytes + (kByByte ? i / 2 : 0));
            if (kByByte || B > 2) Simd::fence(words);
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) {
                const Simd::Reals weights = Simd::look_up<Bits>(table, words, Bits * (kByByte ? j : i + j));
#pragma GCC unroll 4
                for (int r = 0; r < R; ++r) Simd::multiply_add(total[r][b], Simd::reals(x[r * padded + i + j]), weights);
            }
        }
}

template <int Bits, int R, int B>
static void codebook_tile(const qk::Table& layer, const float* x, int64_t padded, const int8_t* w, float* out) {
    const Simd::Table table = Simd::table(layer.entries);
    Simd::Reals total[R][B];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) total[r][b] = Simd::reals(0.0f);
    for (int word = 1; word < layer.words; ++word, w += 64, x += 32 / Bits) codebook_step<Bits, false>(total, table, x, padded, w, layer.block_bytes);
    codebook_step<Bits, true>(total, table, x, padded, w, layer.block_bytes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) Simd::store(out + (r * B + b) * 16, total[r][b]);
}

template <int Bits>
static void codebook_bits(const qk::Table& layer, const float* x, qk::Range range, float* out) {
    constexpr int kWide = Simd::kMostSums >= 16 ? 4 : 1;
    constexpr int kWidest = 2 * kWide;  // for one row
    const int64_t padded = int64_t(layer.words) * (32 / Bits);
    float totals[4 * kWide * 16];
    const bool one_row = range.row1 - range.row0 == 1;
    for (int block = range.block0, blocks; block < range.block1; block += blocks) {
        const int left = range.block1 - block;
        blocks = one_row && left >= kWidest ? kWidest : left >= kWide ? kWide : 1;
        for (int64_t row = range.row0, rows; row < range.row1; row += rows) {
            rows = range.row1 - row >= 4 ? 4 : 1;
            const auto compute = blocks == kWidest ? codebook_tile<Bits, 1, kWidest>
                                 : rows == 1       ? (blocks == 1 ? codebook_tile<Bits, 1, 1> : codebook_tile<Bits, 1, kWide>)
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
