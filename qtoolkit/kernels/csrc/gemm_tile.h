// The heart: a tile of R rows x B blocks of 16 outputs, whose sums stay in registers while the inputs stream by.
//
// For every 4 inputs it loads B x 64 bytes of packed weights and spreads 4 bytes of each of the R rows, then makes R x B dot
// products: R x B useful instructions for R + B loads, which is why the tile is as square as the registers allow. Rows are
// reached through pointers, one set for each tap, `pitch` apart: a matrix product has 1 tap; a 3x3 convolution has 9, whose pointers
// lead to 9 neighboring pixels, so that a pixel is not copied 9 times (indirect convolution, Dukhan 2019). The inputs come from
// `prepare` in gemm.h: k is a multiple of 4, and they are unsigned where the instruction wants that. The sums start from the bias
// and go to a small buffer; what happens to them next costs a few instructions per K multiply-adds.
#pragma once

typedef void (*Tile)(const int8_t* const* rows, int pitch, int taps, int k, const int8_t* w, int64_t block_bytes, const int32_t* start,
                     int32_t* sums);

// Weights from beyond the second-level cache come too late if they are asked for when they are needed. The processor guesses what
// comes next, but only up to the end of a page of 4096 bytes; asked for by name, the next page is on its way as well. Asking is
// not reading: behind the last weights it does nothing.
template <int Bytes = 2048>
static inline void fetch_ahead(const void* w) {
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(w) + Bytes));
}

template <int R, int B>
static inline void step(Simd::Sums (&sums)[R][B], const int8_t* const* x, int64_t at, const int8_t* w, int64_t block_bytes) {
    Simd::Weights weights[B];
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) weights[b] = Simd::load(w + b * block_bytes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        const Simd::Inputs inputs = Simd::spread(x[r] + at);
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) Simd::dot(sums[r][b], inputs, weights[b]);
    }
}

template <int R, int B>
static void tile(const int8_t* const* rows, int pitch, int taps, int k, const int8_t* w, int64_t block_bytes, const int32_t* start,
                 int32_t* out) {
    Simd::Sums sums[R][B];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) sums[r][b] = Simd::sums(start + b * 16);
    for (int tap = 0; tap < taps; ++tap, rows += pitch) {
        const int8_t* x[R];
        for (int r = 0; r < R; ++r) x[r] = rows[r];
        for (int at = 0; at < k; at += 4, w += 64) {
            step<R, B>(sums, x, at, w, block_bytes);
            if (R == 1 || taps > 1) continue;  // a row alone does little but load, and would be delayed; kernels of images are small
#pragma GCC unroll 8
            for (int b = 0; b < B; ++b) fetch_ahead(w + b * block_bytes);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) Simd::store(out + (r * B + b) * 16, sums[r][b]);
}

// What the sums of a block of 16 outputs start from: its integer bias, less what the offset of unsigned inputs brings in.
static inline void start_of(const qk::Layer& layer, int block, int32_t* to) {
    const int32_t *bias = layer.bias + block * 16, *column_sum = layer.column_sum + block * 16;
    for (int j = 0; j < 16; ++j) to[j] = int32_t(uint32_t(bias[j]) - uint32_t(Simd::kOffset) * uint32_t(column_sum[j]));
}

// The first of `parts` shares of `count`, all of nearly the same size.
static inline int share_of(int64_t count, int64_t parts) { return int((count + parts - 1) / parts); }

// How many blocks go with R rows: 4 at most, and R x B sums at most.
static constexpr int blocks_beside(int rows) {
    return Simd::kMostSums / rows < 4 ? Simd::kMostSums / rows : 4;
}

template <int R, int B>
static Tile find_tile(int rows, int blocks) {  // the instance for run-time numbers
    if (rows < R) {
        if constexpr (R > 1) return find_tile<R - 1, blocks_beside(R - 1)>(rows, blocks);
    } else if (blocks < B) {
        if constexpr (B > 1) return find_tile<R, B - 1>(rows, blocks);
    }
    return tile<R, B>;
}
