// Sparse weights in tiles: of the 64-byte rows of packed weights (16 outputs x 4 inputs) only those that are not all zero are
// stored, and beside each which four inputs it belongs to.
//
// Compressed rows (sparse.h) give up what makes int8 fast: each weight looks for its own input. Here a whole tile is kept or
// pruned, and a tile is just what one instruction of the dense product eats, so a stored tile costs what it costs there, and a
// pruned one costs nothing. What is lost is the neighbor: blocks of 16 outputs have different lists, so spread inputs serve one
// block alone. The registers that the dense tile gives to blocks side by side hold several tiles of one list on their way
// instead, for a dot product must wait for the one before on the same sums. That lists increase and end within the inputs is
// checked just before the walk, 32 indices an instruction: a damaged layer is refused, no access is ever bad. Sums are integers, hence
// the same bits as from the dense layer.
#pragma once

static inline bool increase(const uint16_t* index, int64_t count, int64_t below) {
    uint16_t wrong = 0;
    for (int64_t i = 0; i + 1 < count; ++i) wrong |= uint16_t(index[i] >= index[i + 1]);
    return !wrong && (!count || index[count - 1] < below);
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
static void walk_tiles(const int8_t* rows, int64_t stride, const uint16_t* index, int64_t count, const int8_t* w, const int32_t* start, int32_t* out) {
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

typedef void (*Walker)(const int8_t*, int64_t, const uint16_t*, int64_t, const int8_t*, const int32_t*, int32_t*);

template <int R>
static Walker find_walker(int rows) {  // the instance for a run-time number
    if constexpr (R > 1) return rows < R ? find_walker<R - 1>(rows) : walk_tiles<R>;
    return walk_tiles<1>;
}

// x: rows as `prepare` leaves them; false: a list does not increase or leads beyond the inputs
static bool tile_sparse_int8(const qk::TileSparse& sparse, const int8_t* x, qk::Range range, int8_t* out) {
    alignas(64) int32_t sums[Simd::kMostRows * 16], start[16];
    const qk::Layer& layer = sparse.layer;
    const int64_t fours = (int64_t(layer.inputs) + 3) / 4, rows = range.row1 - range.row0;
    for (int block = range.block0; block < range.block1; ++block)
        if (!increase(sparse.index + sparse.start[block], sparse.start[block + 1] - sparse.start[block], fours)) return false;
    const int64_t groups = (rows + Simd::kMostRows - 1) / Simd::kMostRows;
    for (int64_t row = range.row0, group = 0, height; group < groups; ++group, row += height) {
        height = (range.row1 - row + groups - group - 1) / (groups - group);  // equal heights, as in gemm.h
        const Walker walk = find_walker<Simd::kMostRows>(int(height));
        for (int block = range.block0; block < range.block1; ++block) {
            const int64_t from = sparse.start[block];
            start_of(layer, block, start);
            walk(x + row * fours * 4, fours * 4, sparse.index + from, sparse.start[block + 1] - from, layer.weight + from * 64, start, sums);
            finish_int8(layer, block, row, int(height), sums, 16, layer.outputs, out);
        }
    }
    return true;
}
