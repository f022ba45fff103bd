// Signs on a matrix unit. It multiplies bytes, so bits become bytes first, and one instruction does that for 64 of them.
//
// A word holds 32 weights of an output, 8 bits in each of 4 bytes. The word `and` 0x04040404 leaves bit 2 of each byte, as 4 or 0:
// that *is* a row of a tile, if the inputs come in the same order (bit 0 of the four bytes, then bit 1, ...) and make good for
// the 4. So an input that meets bit t is a byte of 2^(6-t), minus that where it is +1, and each product is 64, -64 or, where the
// weight is +1, 0. (A signed byte ends at 127: bit 7 moves to place 6 first.) With s the signs of the inputs and w = 1 for a weight of
// -1, sum s (1 - 2 w) = sum s - 2 sum s w, so sums that start from 32 sum s end as 32 times the result. Ternary weights become bytes of
// 2^t (2 w - 1) or 0, and their sums start from 0. Inputs are spread once for 32 rows and stay near, weights for two blocks of 16
// outputs at a time, two steps before the unit wants them. All of it is exact, and y has the same bits as from binary.h.
#pragma once

constexpr int kSignRows = 2 * kTileRows, kStepsAhead = 2, kStepsKept = 4;  // weights of 4 steps take 8 KiB

// 16 words, one an output, as 8 rows of a tile; of ternary weights 16 more, where they are not 0.
template <int Planes>
static inline void spread_weights(const int8_t* w, int8_t* to) {
    typedef uint32_t Words __attribute__((vector_size(64)));
    typedef uint8_t Bytes __attribute__((vector_size(64)));
    Words minus, where = {};
    __builtin_memcpy(&minus, w, 64);
    if (Planes == 2) __builtin_memcpy(&where, w + 64, 64), minus &= where;
#pragma GCC unroll 8
    for (int bit = 0; bit < 8; ++bit) {
        const int down = bit == 7;
        const uint32_t place = 0x01010101u << (bit - down);
        Words row = minus >> down & place;
        if (Planes == 2) row = Words(Bytes(row) + Bytes(row) - Bytes(where >> down & place));
        __builtin_memcpy(to + bit * 64, &row, 64);
    }
}

// The bits of a row of inputs in the same order, 1 as 2^(6-t), 0 as -2^(6-t); behind an odd last word, bytes of 0.
static inline void spread_inputs(const uint32_t* x, int words, int8_t* to) {
    typedef uint32_t Words __attribute__((vector_size(32)));
    typedef int8_t Bytes __attribute__((vector_size(32)));
    Words places, sizes;
    for (int bit = 0; bit < 8; ++bit) places[bit] = 0x01010101u << bit, sizes[bit] = 0x01010101u << (bit < 7 ? 6 - bit : 0);
    const Bytes size = Bytes(sizes);
    for (int word = 0; word < words; ++word) {
        const Bytes bytes = Bytes((Words{} + x[word]) & places) != 0 ? size : -size;
        __builtin_memcpy(to + word * 32, &bytes, 32);
    }
    if (words % 2) __builtin_memset(to + words * 32, 0, 32);
}

// The sums of up to 2 x 2 tiles, left in their registers.
template <class T, int Planes, int Groups, int Blocks>
static void multiply_signs(const qk::Table& layer, const TileRows& band, const int8_t* x, int block, const int32_t* start) {
    constexpr int kTile = kTileInputs * 16, kWord = 64 * Planes;
    alignas(64) int8_t tiles[kStepsKept][Blocks * kTile];
    const int8_t* weights = layer.weight + block * layer.block_bytes;
    const int64_t block_bytes = layer.block_bytes;
    const int words = layer.words, steps = int(band.steps.count);
    const auto spread = [&](int step) {
        const int word = 2 * step, other = word + 1 < words ? word + 1 : word;  // behind an odd last word, inputs are 0
        int8_t* to = tiles[step % kStepsKept];
#pragma GCC unroll 2
        for (int b = 0; b < Blocks; ++b) {
            spread_weights<Planes>(weights + b * block_bytes + word * kWord, to + b * kTile);
            spread_weights<Planes>(weights + b * block_bytes + other * kWord, to + b * kTile + kTile / 2);
        }
    };
    for (int step = 0; step < kStepsAhead && step < steps; ++step) spread(step);
    start_tiles<T, Groups, Blocks>(start, 0, band.height * 16, 64);
    for (int step = 0; step < steps; ++step) {
        if (step + kStepsAhead < steps) spread(step + kStepsAhead);
        multiply_step<T, true, Groups, Blocks>(x + step * kTileInputs, band.steps.pitch, band.height, tiles[step % kStepsKept], kTile);
    }
}

// y = sum * scale + bias; sums are [rows][blocks][16].
template <int Planes>
static void finish_signs(const qk::Table& layer, int block, int blocks, int64_t row, int rows, const int32_t* sums, float* out) {
    Reals16 scale[2], bias[2];
    for (int b = 0; b < blocks; ++b) load16(layer.scale + (block + b) * 16, scale[b]), load16(layer.bias + (block + b) * 16, bias[b]);
    for (int r = 0; r < rows; ++r)
        for (int b = 0; b < blocks; ++b)
            finish_reals<Planes == 2 ? 6 : 5>(layer.outputs, block + b, row + r, sums + (r * blocks + b) * 16, scale[b], bias[b], out);
}

// The results of one panel of two blocks are written while the unit works on the next.
template <class T, int Planes, int Groups>
static bool sign_band(const qk::Table& layer, const uint32_t* x, int64_t row0, int rows, int block0, int block1, float* out) {
    const TileRows band(share_of(layer.words, 2) * kTileInputs, rows);
    auto* bytes = static_cast<int8_t*>(qk::scratch(qk::kTiles, band.bytes()));
    if (!bytes) return false;
    alignas(64) int32_t start[kSignRows * 16] = {}, sums[kSignRows * 2 * 16];
    for (int r = 0; r < rows; ++r) {
        const uint32_t* words = x + (row0 + r) * layer.words;
        spread_inputs(words, layer.words, bytes + r * band.steps.pitch);
        int sum = layer.taps * layer.inputs;
        for (int word = 0; word < layer.words; ++word) sum -= 2 * __builtin_popcount(words[word]);
        for (int j = 0; j < 16 && Planes == 1; ++j) start[r * 16 + j] = 32 * sum;
    }
    T::start(band.height, kTileInputs);
    for (int block = block0; block < block1; block += 2) {
        const int blocks = block1 - block < 2 ? 1 : 2;
        (blocks == 2 ? multiply_signs<T, Planes, Groups, 2> : multiply_signs<T, Planes, Groups, 1>)(layer, band, bytes, block, start);
        if (block > block0) finish_signs<Planes>(layer, block - 2, 2, row0, rows, sums, out);
        (blocks == 2 ? store_tiles<T, Groups, 2> : store_tiles<T, Groups, 1>)(sums, band.height, blocks * 16);
        if (block + blocks == block1) finish_signs<Planes>(layer, block, blocks, row0, rows, sums, out);
    }
    T::stop();
    return true;
}

// False if that is better left to binary.h.
template <int Planes, class T = Tiles>
static bool signs_by_tiles(const qk::Table& layer, const uint32_t* x, qk::Range range, float* out) {
    if constexpr (T::kHere) {
        const int64_t many = range.row1 - range.row0;
        if (many < T::kFewestSigns || range.block1 - range.block0 < T::kFewestSignBlocks) return false;
        int64_t bands = (many + kSignRows - 1) / kSignRows;
        for (int64_t row = range.row0, rows; bands; row += rows, --bands) {
            rows = share_of(range.row1 - row, bands);
            const auto compute = rows > kTileRows ? sign_band<T, Planes, 2> : sign_band<T, Planes, 1>;
            if (!compute(layer, x, row, int(rows), range.block0, range.block1, out)) return false;
        }
        return true;
    }
    return false;
}
