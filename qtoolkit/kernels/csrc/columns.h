// A batch of real rows on its side: for each input, 16, 32 or 64 rows of the batch next to each other.
//
// A sparse weight belongs to one output and one input, so no register of weights meets a register of inputs. What can fill a register
// is the batch: with its rows side by side, one weight and one index serve 16 multiply-adds each. The price is to turn the inputs on
// their side first and the outputs back afterwards, 16 x 16 numbers at a time in registers: 4 steps in which pairs, then pairs of
// pairs, and so on, change places. Rows that a batch does not have are zeros.
#pragma once

constexpr int kSparseRows = Simd::kWide ? 64 : 32;  // of a batch at once: as many as leave their sums in registers

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

// The first k inputs of `rows` rows, which lie `pitch` apart, to (k, wide).
static void to_columns(const float* x, int64_t rows, int64_t pitch, int64_t k, int64_t wide, float* columns) {
    for (int64_t row = 0; row < wide; row += 16)
        for (int64_t from = 0; from < k; from += 16) {
            const int64_t to = from + 16 < k ? from + 16 : k;
            if (to - from == 16 && row + 16 <= rows) {
                transpose16<Simd>(x + row * pitch + from, pitch, columns + from * wide + row, wide);
                continue;
            }
            for (int64_t r = row; r < row + 16; ++r)
                for (int64_t i = from; i < to; ++i) columns[i * wide + r] = r < rows ? x[r * pitch + i] : 0;
        }
}

// And back: (outputs, wide) to `rows` rows of `outputs` numbers, which lie `pitch` apart. A row receives whole cache lines, one after the other.
static void to_rows(const float* sums, int64_t wide, int64_t outputs, int64_t rows, int64_t pitch, float* out) {
    for (int64_t row = 0; row < rows; row += 16)
        for (int64_t from = 0; from < outputs; from += 16) {
            const int64_t to = from + 16 < outputs ? from + 16 : outputs;
            if (Simd::kWide && to - from == 16 && row + 16 <= rows) {
                transpose16<Simd>(sums + from * wide + row, wide, out + row * pitch + from, pitch);
                continue;
            }
            for (int64_t r = row; r < row + 16 && r < rows; ++r)
                for (int64_t o = from; o < to; ++o) out[r * pitch + o] = sums[o * wide + r];
        }
}
