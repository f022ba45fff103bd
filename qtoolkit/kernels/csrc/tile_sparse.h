// Sparse weights in tiles: of the 64-byte rows of packed weights (16 outputs x 4 inputs) only those that are not all zero are
// stored, and beside each which four inputs it belongs to.
//
// Compressed rows (sparse.h) give up what makes int8 fast: each weight looks for its own input. Here a whole tile is kept or
// pruned, and a tile is just what one instruction of the dense product eats, so a stored tile costs what it costs there, and a
// pruned one costs nothing. What is lost is the neighbor: blocks of 16 outputs have different lists, so spread inputs serve one
// block alone. With few rows, registers that the dense tile gives to blocks side by side hold several tiles of one list on
// their way instead, for a dot product must wait for the one before on the same sums. That lists increase and end within the
// inputs is checked just before the walk, many indices an instruction: a damaged layer is refused, no access is ever bad. Sums
// are integers, hence the same bits as from the dense layer.
#pragma once

// Within each block, indices must increase and stay below `fours`. One long loop counts where an index does not exceed the one
// before; all of these must be borders between blocks.
static bool lists_fit(const qk::TileSparse& sparse, qk::Range range, int64_t fours) {
    const uint16_t* index = sparse.index;
    const int32_t from = sparse.start[range.block0], to = sparse.start[range.block1];
    uint32_t falls = 0;
    for (int32_t i = from + 1; i < to; ++i) falls += index[i - 1] >= index[i];
    for (int block = range.block0; block < range.block1; ++block) {
        const int32_t end = sparse.start[block + 1];
        if (end == sparse.start[block]) continue;
        if (index[end - 1] >= fours) return false;
        if (end < to) falls -= index[end - 1] >= index[end];
    }
    return !falls;
}

// How many tiles are on their way for R rows: enough for 8 sums at once, if the registers of the dense tile hold them.
static constexpr int tiles_in_flight(int rows) {
    const int wanted = 8 / rows < 1 ? 1 : 8 / rows;
    return wanted < blocks_beside(rows) ? wanted : blocks_beside(rows);
}

template <int R>
static inline void one_tile(Simd::Sums (&sums)[R], const int8_t* const* x, int64_t at, const int8_t* w) {
    const Simd::Weights weights = Simd::load(w);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) Simd::dot(sums[r], Simd::spread(x[r] + at), weights);
}

// `count` tiles of a block for R rows, `stride` bytes apart; the sums go to [R][16]
template <int R>
static inline void walk_tiles(const int8_t* rows, int64_t stride, const uint16_t* index, int64_t count, const int8_t* w,
                              const int32_t* start, int32_t* out) {
    constexpr int kFlight = tiles_in_flight(R);
    Simd::Sums sums[kFlight][R];
    const int8_t* x[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        x[r] = rows + r * stride, sums[0][r] = Simd::sums(start);
#pragma GCC unroll 8
        for (int f = 1; f < kFlight; ++f) sums[f][r] = Simd::zero();
    }
    int64_t i = 0;
    for (; i + kFlight <= count; i += kFlight, w += kFlight * 64)
#pragma GCC unroll 8
        for (int f = 0; f < kFlight; ++f) one_tile<R>(sums[f], x, 4 * int64_t(index[i + f]), w + f * 64);
    for (; i < count; ++i, w += 64) one_tile<R>(sums[0], x, 4 * int64_t(index[i]), w);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int f = 1; f < kFlight; ++f) Simd::add(sums[0][r], sums[f][r]);
        Simd::store(out + r * 16, sums[0][r]);
    }
}

// R rows from `row` through all blocks of the range
template <int R>
static void walk_blocks(const qk::TileSparse& sparse, const int8_t* x, int64_t stride, int64_t row, qk::Range range, int8_t* out) {
    alignas(64) int32_t sums[R * 16], start[16];
    for (int block = range.block0; block < range.block1; ++block) {
        const int64_t from = sparse.start[block], count = sparse.start[block + 1] - from;
        start_of(sparse.layer, block, start);
        walk_tiles<R>(x + row * stride, stride, sparse.index + from, count, sparse.layer.weight + from * 64, start, sums);
        finish_int8(sparse.layer, block, row, R, sums, 16, sparse.layer.outputs, out);
    }
}

typedef void (*BlockWalk)(const qk::TileSparse&, const int8_t*, int64_t, int64_t, qk::Range, int8_t*);

template <int R>
static BlockWalk find_walk(int64_t rows) {  // the instance for a run-time number
    if constexpr (R > 1) return rows < R ? find_walk<R - 1>(rows) : walk_blocks<R>;
    return walk_blocks<1>;
}

// x: rows as `prepare` leaves them; false: a list does not increase or leads beyond the inputs
static bool tile_sparse_int8(const qk::TileSparse& sparse, const int8_t* x, qk::Range range, int8_t* out) {
    const int64_t fours = (int64_t(sparse.layer.inputs) + 3) / 4, rows = range.row1 - range.row0;
    if (!lists_fit(sparse, range, fours)) return false;
    const int64_t groups = (rows + Simd::kMostRows - 1) / Simd::kMostRows;
    for (int64_t row = range.row0, group = 0, height; group < groups; ++group, row += height) {
        height = share_of(range.row1 - row, groups - group);
        find_walk<Simd::kMostRows>(height)(sparse, x, fours * 4, row, range, out);
    }
    return true;
}
