// The matrix product by a matrix unit, which multiplies a tile of 16 rows x 64 inputs by a tile of 64 inputs x 16 outputs in one
// instruction (simd/amx.h).
//
// The tile of gemm_tile.h over again, with registers that are tiles themselves: 2 of inputs and 2 of weights make 4 products, so that
// each loaded tile is used twice and loads (8 cycles each) hide behind products (16 cycles each). Rows are copied side by side first,
// those of a convolution tap by tap, an odd number of cache lines apart: at a distance of a power of two all 16 rows of a tile
// would fight for the same few places in the nearest cache. A row's last 64 inputs may be only partly there. Then the last step
// begins early enough to end with the weights, and inputs that had their turn already are 0 in it. Sums start from the bias, and
// are the same integers as from gemm_tile.h.
#pragma once

constexpr int kTileRows = 16, kTileInputs = 64;
constexpr int64_t kNearBytes = 1 << 18;  // of weights that all rows of a band use before the next

struct Steps {  // a row of k inputs in pieces of 64, or in one shorter piece
    int64_t k, whole, rest, count, pitch;
    explicit Steps(int64_t inputs)
        : k(inputs), whole(k / kTileInputs), rest(k % kTileInputs), count(whole + (rest > 0)), pitch((count | 1) * kTileInputs) {}
    int bytes() const { return int(k < kTileInputs ? k : kTileInputs); }
    int64_t weights_of(int64_t step) const { return (step == whole && whole ? k - kTileInputs : step * kTileInputs) * 16; }
};

struct TileRows {  // rows in groups of a tile each, as equal as can be
    Steps steps;
    int rows, groups, height;
    TileRows(int64_t k, int many) : steps(k), rows(many), groups(share_of(many, kTileRows)), height(share_of(many, groups)) {}
    int64_t bytes() const { return groups * height * steps.pitch + 8; }
    int rows_from(int row) const { return rows - row < 2 * height ? rows - row : 2 * height; }  // in this group and the next
};

// The last, shorter piece goes to the end of its 64 places.
static inline void align_last(const Steps& steps, int8_t* row) {
    if (!steps.rest || !steps.whole) return;
    int8_t last[2 * kTileInputs] = {};
    __builtin_memcpy(last + kTileInputs, row + steps.whole * kTileInputs, kTileInputs);
    __builtin_memcpy(row + steps.whole * kTileInputs, last + steps.rest, kTileInputs);
}

template <int Blocks>
static inline void fetch_tiles_ahead(const int8_t* w, int64_t block_bytes) {
    for (int at = 0; at < kTileInputs * 16; at += 64)
        for (int b = 0; b < Blocks; ++b) fetch_ahead(w + b * block_bytes + at);
}

// 2 x 2 tiles of sums, or fewer: registers 0 and 1 for the blocks of the first group of rows, 2 and 3 for the second.
template <class T, int Groups, int Blocks>
static inline void start_tiles(const int32_t* start, int64_t of_block, int64_t of_group, int64_t stride) {  // at a stride of 0 all rows start alike
    T::template load<0>(start, stride);
    if (Blocks == 2) T::template load<1>(start + of_block, stride);
    if (Groups == 2) T::template load<2>(start + of_group, stride);
    if (Groups == 2 && Blocks == 2) T::template load<3>(start + of_group + of_block, stride);
}

// One step: 64 inputs of the rows, `height` of them in a group, by a tile of weights of each block.
template <class T, bool Signed, int Groups, int Blocks>
static inline void multiply_step(const int8_t* x, int64_t pitch, int height, const int8_t* w, int64_t block_bytes) {
    T::template load<4>(x, pitch);
    T::template stream<6>(w, 64);
    T::template dot<Signed, 0, 4, 6>();
    if (Blocks == 2) T::template stream<7>(w + block_bytes, 64), T::template dot<Signed, 1, 4, 7>();
    if (Groups == 2) T::template load<5>(x + height * pitch, pitch), T::template dot<Signed, 2, 5, 6>();
    if (Groups == 2 && Blocks == 2) T::template dot<Signed, 3, 5, 7>();
}

template <class T, int Groups, int Blocks>
static inline void store_tiles(int32_t* sums, int height, int64_t pitch) {  // row by row, `pitch` sums apart
    T::template store<0>(sums, pitch * 4);
    if (Blocks == 2) T::template store<1>(sums + 16, pitch * 4);
    if (Groups == 2) T::template store<2>(sums + height * pitch, pitch * 4);
    if (Groups == 2 && Blocks == 2) T::template store<3>(sums + height * pitch + 16, pitch * 4);
}

// `far`: the weights are in no near cache.
template <class T, int Groups, int Blocks>
static void multiply_tiles(const Steps& steps, const int8_t* x, int height, const int8_t* w, int64_t block_bytes, const int32_t* start,
                           int32_t* sums, int64_t sums_pitch, bool far) {
    start_tiles<T, Groups, Blocks>(start, 16, 0, 0);
    for (int64_t step = 0; step < steps.count; ++step) {
        const int8_t* weights = w + steps.weights_of(step);
        if (far) fetch_tiles_ahead<Blocks>(weights, block_bytes);
        multiply_step<T, false, Groups, Blocks>(x + step * kTileInputs, steps.pitch, height, weights, block_bytes);
    }
    store_tiles<T, Groups, Blocks>(sums, height, sums_pitch);
}

template <class T>
static inline void multiply_tiles(int groups, int blocks, const Steps& steps, const int8_t* x, int height, const int8_t* w, int64_t block_bytes,
                                  const int32_t* start, int32_t* sums, int64_t sums_pitch, bool far) {
    const auto compute = groups == 2 ? (blocks == 2 ? multiply_tiles<T, 2, 2> : multiply_tiles<T, 2, 1>)
                                     : (blocks == 2 ? multiply_tiles<T, 1, 2> : multiply_tiles<T, 1, 1>);
    compute(steps, x, height, w, block_bytes, start, sums, sums_pitch, far);
}

static inline bool weights_are_far(const qk::Layer& layer, int blocks) { return blocks * layer.block_bytes > 4 * kNearBytes; }

// The sums of `rows` rows of k inputs; copy(row, to) makes the inputs of a row as they meet the weights, and perhaps 7 bytes more.
// False if that is better left to the tile of gemm_tile.h: few rows, or no memory for the copied ones.
template <class T, class Copy, class Finish>
static bool tile_band(const qk::Layer& layer, int64_t k, int64_t row0, int rows, int block0, int block1, Copy copy, Finish finish) {
    const TileRows band(k, rows);
    const Steps& steps = band.steps;
    auto* x = rows < T::kFewestRows ? nullptr : static_cast<int8_t*>(qk::scratch(qk::kTiles, band.bytes()));
    if (!x) return false;
    for (int r = 0; r < rows; ++r) copy(row0 + r, x + r * steps.pitch), align_last(steps, x + r * steps.pitch);
    alignas(64) int32_t sums[2 * kTileRows * 4 * 16], start[4 * 16];
    const bool far = weights_are_far(layer, block1 - block0);
    const auto panel = [&](int group, int block, int blocks) {
        const int row = group * band.height, many = band.groups - group < 2 ? 1 : 2;
        for (int b = 0; b < blocks; ++b) start_of(layer, block + b, start + b * 16);
        for (int b = 0; b < blocks; b += 2)
            multiply_tiles<T>(many, blocks - b < 2 ? 1 : 2, steps, x + row * steps.pitch, band.height, layer.weight + (block + b) * layer.block_bytes,
                              layer.block_bytes, start + b * 16, sums + b * 16, blocks * 16, far);
        finish(block, blocks, row0 + row, band.rows_from(row), sums);
    };
    const int fit = int(kNearBytes / 4 / layer.block_bytes), chunk = 4 * (fit < 1 ? 1 : fit);
    T::start(band.height, steps.bytes());
    for (int from = block0, to; from < block1; from = to) {
        to = block1 - from < chunk ? block1 : from + chunk;
        for (int group = 0; group < band.groups; group += 2)
            for (int block = from; block < to; block += 4) panel(group, block, to - block < 4 ? to - block : 4);
    }
    T::stop();
    return true;
}

// The same for all rows of a range, 256 at a time if weights come from afar, so that they serve many rows on each visit, else 64,
// whose inputs stay near.
template <class Copy, class Finish, class T = Tiles>
static bool gemm_by_tiles(const qk::Layer& layer, int64_t k, qk::Range range, Copy copy, Finish finish) {
    if constexpr (!T::kHere) return false;
    const int64_t most = weights_are_far(layer, range.block1 - range.block0) ? 256 : 64;
    int64_t bands = (range.row1 - range.row0 + most - 1) / most;
    for (int64_t row = range.row0, rows; bands; row += rows, --bands) {
        rows = share_of(range.row1 - row, bands);
        if constexpr (T::kHere)
            if (!tile_band<T>(layer, k, row, int(rows), range.block0, range.block1, copy, finish)) return false;
    }
    return true;
}

// For limits.h: multiply-adds a call, nothing but products. Of bytes like those of a network: zeros draw less power and run faster.
template <class T>
static double peak_of_tiles(int64_t rounds) {
    uint8_t bytes[kTileRows * kTileInputs];
    uint32_t any = 1;
    for (uint8_t& byte : bytes) byte = uint8_t((any = any * 1664525u + 1013904223u) >> 24);
    T::start(kTileRows, kTileInputs);
    T::template load<0>(bytes, 64), T::template load<1>(bytes, 64), T::template load<2>(bytes, 64), T::template load<3>(bytes, 64);
    T::template load<4>(bytes, 64), T::template load<5>(bytes, 64), T::template load<6>(bytes, 64), T::template load<7>(bytes, 64);
    for (int64_t round = 0; round < rounds; ++round)
        T::template dot<false, 0, 4, 6>(), T::template dot<false, 1, 4, 7>(), T::template dot<false, 2, 5, 6>(), T::template dot<false, 3, 5, 7>();
    T::stop();
    return double(rounds) * 4 * kTileRows * kTileInputs * 16;
}
