// The matrix product around the tile, and what becomes of its sums.
//
// Outer loop over panels of up to 4 blocks (64 outputs): a panel's weights (64 K bytes) are read from the second-level cache
// by all rows before the next panel is touched. Inner loop over groups of rows of equal height: 10 rows go as 5 + 5 through
// an 8-row tile, not as 8 + 2, since a flat tile wastes loads. `finish` turns the sums of a block of 16
// outputs into codes or reals.
#pragma once

constexpr int kMostSumsOut = 24 * 16, kRowsOfBand = 96;

// Copy rows into working memory as the tile wants them: padded to a multiple of 4, and with the sign bit flipped (that is,
// 128 added) where the instruction takes unsigned inputs. Once a row here instead of once a row and panel in the tile.
static void prepare_rows(const int8_t* x, int64_t rows, int64_t stride, int k, int k4, int8_t* copy) {
    if (k == k4 && k == stride) k = k4 = int(rows * k), rows = 1;  // rows without gaps are one long row
    for (int64_t row = 0; row < rows; ++row, x += stride, copy += k4) {
        for (int i = 0; i < k; ++i) copy[i] = int8_t(x[i] ^ Simd::kOffset);
        for (int i = k; i < k4; ++i) copy[i] = 0;  // meets zero weights
    }
}

static const int8_t* prepare(const int8_t* x, int64_t rows, int k, int k4) {
    if (!Simd::kOffset && k == k4) return x;
    auto* copy = static_cast<int8_t*>(qk::scratch(qk::kPrepared, rows * k4));
    if (copy) prepare_rows(x, rows, k, k, k4, copy);
    return copy;
}

// at[tap * rows + r] are the inputs of row row0 + r: found once for a band, they serve every panel
template <class Finish>
static void gemm_band(const qk::Layer& layer, int k4, int64_t row0, int rows, int block0, int block1, const int8_t* const* at, Finish finish) {
    alignas(64) int32_t sums[kMostSumsOut], start[4 * 16];
    constexpr int kFlat = Simd::kMostSums / 4;  // rows of a tile 4 blocks wide: fewest loads, unless one block is left over alone
    const int most = kFlat >= 4 && rows >= 4 * kFlat && (block1 - block0) % 4 != 1 ? kFlat : Simd::kMostRows;
    const int groups = (rows + most - 1) / most;
    const int widest = blocks_beside((rows + groups - 1) / groups);
    const int panels = (block1 - block0 + widest - 1) / widest;
    for (int block = block0, panel = 0, blocks; panel < panels; ++panel, block += blocks) {
        blocks = share_of(block1 - block, panels - panel);
        for (int b = 0; b < blocks; ++b) start_of(layer, block + b, start + b * 16);
        for (int row = 0, group = 0, height; group < groups; ++group, row += height) {
            height = share_of(rows - row, groups - group);
            const Tile compute = find_tile<Simd::kMostRows, blocks_beside(Simd::kMostRows)>(height, blocks);
            compute(at + row, rows, layer.taps, k4, layer.weight + block * layer.block_bytes, layer.block_bytes, start, sums);
            finish(block, blocks, row0 + row, height, sums);
        }
    }
}

// copy(row, to) makes a row of inputs as the tile wants them; band_of(row, rows, k4) many at once, k4 bytes apart, null if there is no memory
template <class Copy, class Band, class Finish>
static bool gemm(const qk::Layer& layer, qk::Range range, Copy copy, Band band_of, Finish finish) {
    const int k4 = (layer.inputs + 3) / 4 * 4;
    if (gemm_by_tiles(layer, k4, range, copy, finish)) return true;
    for (int64_t row = range.row0; row < range.row1; row += kRowsOfBand) {
        const int64_t rows = range.row1 - row < kRowsOfBand ? range.row1 - row : kRowsOfBand;
        const int8_t* band = band_of(row, rows, k4);
        if (!band) return false;
        const int8_t* at[kRowsOfBand];
        for (int r = 0; r < rows; ++r) at[r] = band + int64_t(r) * k4;
        gemm_band(layer, k4, row, int(rows), range.block0, range.block1, at, finish);
    }
    return true;
}

template <class Finish>
static bool gemm_of_rows(const qk::Layer& layer, const int8_t* x, qk::Range range, Finish finish) {
    const int k = layer.inputs;
    const auto copy = [=](int64_t row, int8_t* to) { prepare_rows(x + row * k, 1, k, k, (k + 3) / 4 * 4, to); };
    return gemm(layer, range, copy, [=](int64_t row, int64_t rows, int k4) { return prepare(x + row * k, rows, k, k4); }, finish);
}

// The last block may be partly filled: compute 16 results, keep those that exist.
template <class T, class Compute>
static inline void write_block(int outputs, int64_t stride, int block, int64_t row, T* out, Compute compute) {
    T* to = out + row * stride + block * 16;
    const int count = outputs - block * 16;
    if (count >= 16) return compute(to);
    T all[16];
    compute(all);
    const T* from = all;
    for (int many = 8; many; many /= 2)  // 8, 4, 2 and 1 of them: copies of a fixed size
        if (count & many) {
            for (int j = 0; j < many; ++j) *to++ = *from++;
        }
}

template <class T, class Compute>
static inline void write_block(int outputs, int block, int64_t row, T* out, Compute compute) {
    write_block(outputs, outputs, block, row, out, compute);
}

static inline void finish_int8(const qk::Layer& layer, int block, int64_t row, int rows, const int32_t* sums, int stride,
                               int64_t out_stride, int8_t* out) {
    const Simd::Requantize requantize(layer.multiplier + block * 16, layer.shift + block * 16, layer);
    for (int r = 0; r < rows; ++r)
        write_block(layer.outputs, out_stride, block, row + r, out, [&](int8_t* to) { requantize(sums + r * stride, to); });
}

template <class S, int Blocks>
static inline void finish_blocks(const qk::Layer& layer, int block, int64_t row, int rows, const int32_t* sums, int64_t pitch, int8_t* out) {
    const typename S::Requantize64 requantize(layer.multiplier + block * 16, layer.shift + block * 16, layer, Blocks * 16 - 16);
    for (int r = 0; r < rows; ++r) requantize.template row<Blocks>(sums + r * Blocks * 16, out + (row + r) * pitch + block * 16);
}

// The codes of a panel: sums are [rows][blocks][16].
template <class S = Simd>
static inline void finish_panel(const qk::Layer& layer, int block, int blocks, int64_t row, int rows, const int32_t* sums, int64_t pitch,
                                int8_t* out) {
    if constexpr (S::kWide)
        if (blocks > 2 && (block + blocks) * 16 <= layer.outputs)
            return (blocks == 4 ? finish_blocks<S, 4> : finish_blocks<S, 3>)(layer, block, row, rows, sums, pitch, out);
    for (int b = 0; b < blocks; ++b) finish_int8(layer, block + b, row, rows, sums + b * 16, blocks * 16, pitch, out);
}

static bool linear_int8(const qk::Layer& layer, const int8_t* x, qk::Range range, int8_t* out) {
    return gemm_of_rows(layer, x, range, [&](int block, int blocks, int64_t row, int rows, const int32_t* sums) {
        finish_panel(layer, block, blocks, row, rows, sums, layer.outputs, out);
    });
}

typedef float Reals16 __attribute__((vector_size(64)));  // in whatever registers there are
typedef int32_t Sums16 __attribute__((vector_size(64)));

static inline void load16(const float* from, Reals16& to) { __builtin_memcpy(&to, from, 64); }

// y = (sum / 2^Shift) * scale + bias of one block and row, each step rounded; the sums are multiples of 2^Shift.
template <int Shift = 0>
static inline void finish_reals(int outputs, int block, int64_t row, const int32_t* sums, const Reals16& scale, const Reals16& bias, float* out) {
    Sums16 exact;
    __builtin_memcpy(&exact, sums, 64);
    const Reals16 y = __builtin_convertvector(exact >> Shift, Reals16) * scale + bias;
    write_block(outputs, block, row, out, [&](float* to) { __builtin_memcpy(to, &y, 64); });
}

static bool linear_float(const qk::Layer& layer, const int8_t* x, const float* row_scale, qk::Range range, float* out) {
    return gemm_of_rows(layer, x, range, [&](int block, int blocks, int64_t row, int rows, const int32_t* sums) {
        for (int b = 0; b < blocks; ++b) {
            Reals16 scale, bias;
            load16(layer.scale + (block + b) * 16, scale), load16(layer.real_bias + (block + b) * 16, bias);
            for (int r = 0; r < rows; ++r) {
                const Reals16 of_row = (row_scale ? row_scale[row + r] : 1.0f) * scale;
                finish_reals(layer.outputs, block + b, row + r, sums + (r * blocks + b) * 16, of_row, bias, out);
            }
        }
    });
}
