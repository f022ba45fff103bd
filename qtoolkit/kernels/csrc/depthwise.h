// Depthwise convolution: each channel is filtered by itself, so there is no sum over channels that a matrix product could take.
//
// The 16 lanes are 16 neighboring channels (they lie together: NHWC), and the 4 bytes that one dot product adds up are 4 taps:
// 16 bytes of each of 4 pixels are loaded and interleaved as the weights are, byte i of word j = tap i of channel j. The weights
// are those of a linear layer whose inputs are the taps, in the one packed form of qk.h; taps beyond the last (a 3x3 filter has
// 9 of 12) have zero weights and point to the border pixel. Interleaving costs two shuffles for 64 products. The loads come from
// the first-level cache, since the filters of neighboring pixels overlap. Arithmetic is small here, so what surrounds it counts:
// pointers to the taps are found once for a band of pixels and serve every block of channels; biases and multipliers
// are prepared once for a block and serve every pixel of the band.
//
// Registers of 64 bytes do better with 64 channels at once: four loads and eight unpackings, within quarters of a register, give
// four operands, whose channels come in the order quarter by quarter (`Simd::kWide`). Nothing is put back in order until the
// codes are bytes; instead weights, biases and multipliers are brought into that order, once a call.
#pragma once

struct DepthwiseTaps {  // of a band of pixels: tap t of pixel r at [t * rows + r], filled up to a multiple of 4 taps
    const int8_t* const* at;
    int rows, fours;
};

static DepthwiseTaps taps_of_band(const qk::Layer& layer, const qk::Conv& conv, const int8_t* image, int64_t row, int rows) {
    const int taps = layer.inputs, fours = (taps + 3) / 4, padded = layer.blocks * 16;
    auto* at = static_cast<const int8_t**>(qk::scratch(qk::kPointers, int64_t(fours) * 4 * kRowsOfBand * 8));
    if (!at) return {nullptr, 0, 0};
    point_to_taps(conv, image, padded, row, rows, at);
    for (int64_t i = int64_t(taps) * rows; i < int64_t(fours) * 4 * rows; ++i) at[i] = image + int64_t(conv.height) * conv.width * padded;
    return {at, rows, fours};
}

// compute(taps, row) for every band of pixels, the first of which is `row`; false if there is no memory
template <class Compute>
static bool each_band(const qk::Layer& layer, const qk::Conv& conv, const int8_t* image, qk::Range range, Compute compute) {
    for (int64_t row = range.row0; row < range.row1; row += kRowsOfBand) {
        const DepthwiseTaps taps = taps_of_band(layer, conv, image, row, int(range.row1 - row < kRowsOfBand ? range.row1 - row : kRowsOfBand));
        if (!taps.at) return false;
        compute(taps, row);
    }
    return true;
}

static void depthwise_block(const qk::Layer& layer, int block, const DepthwiseTaps& taps, int64_t row, int64_t pitch, int8_t* out) {
    alignas(64) int32_t sums[16], start[16];
    start_of(layer, block, start);
    const Simd::Requantize requantize(layer.multiplier + block * 16, layer.shift + block * 16, layer);
    const int8_t* weight = layer.weight + block * layer.block_bytes;
    const int64_t channel = block * 16, rows = taps.rows;
    for (int r = 0; r < rows; ++r) {
        Simd::Sums all = Simd::sums(start);
        const int8_t* const* tap = taps.at + r;
        for (int four = 0; four < taps.fours; ++four, tap += 4 * rows)
            Simd::dot_each(all, Simd::interleave(tap[0] + channel, tap[rows] + channel, tap[2 * rows] + channel, tap[3 * rows] + channel),
                           Simd::load(weight + four * 64));
        Simd::store(sums, all);
        write_block(layer.outputs, pitch, block, row + r, out, [&](int8_t* to) { requantize(sums, to); });
    }
}

// What a window of 64 channels needs, in the order of `interleave64`: position 16 j + 4 q + i is channel 16 q + 4 j + i. The
// weights follow, 256 bytes for every 4 taps.
struct Window {
    int32_t start[64], multiplier[64], shift[64];
    int8_t* weight() { return reinterpret_cast<int8_t*>(this + 1); }
    static int64_t bytes(int fours) { return int64_t(sizeof(Window)) + int64_t(fours) * 256; }

    void prepare(const qk::Layer& layer, int block, int fours) {
        alignas(64) int32_t in_order[64];
        for (int b = 0; b < 4; ++b) start_of(layer, block + b, in_order + 16 * b);
        for (int at = 0; at < 64; ++at) {
            const int quarter = at / 4 % 4, lane = at / 16 * 4 + at % 4, channel = (block + quarter) * 16 + lane;
            start[at] = in_order[16 * quarter + lane], multiplier[at] = layer.multiplier[channel], shift[at] = layer.shift[channel];
            const int8_t* from = layer.weight + (block + quarter) * layer.block_bytes + 4 * lane;
            for (int four = 0; four < fours; ++four) __builtin_memcpy(weight() + four * 256 + 4 * at, from + four * 64, 4);
        }
    }
};

template <class S>
static void depthwise_window(const qk::Layer& layer, int block, Window& window, const DepthwiseTaps& taps, int64_t row, int64_t pitch, int8_t* out) {
    const typename S::Requantize64 requantize(window.multiplier, window.shift, layer);
    const int64_t channel = block * 16, rows = taps.rows, count = layer.outputs - channel;
    int8_t* to = out + row * pitch + channel;
    for (int r = 0; r < rows; ++r, to += pitch) {
        typename S::Sums all[4] = {S::sums(window.start), S::sums(window.start + 16), S::sums(window.start + 32), S::sums(window.start + 48)};
        const int8_t *const* tap = taps.at + r, *weight = window.weight();
        for (int four = 0; four < taps.fours; ++four, tap += 4 * rows, weight += 256) {
            typename S::Weights x[4];
            S::interleave64(tap[0] + channel, tap[rows] + channel, tap[2 * rows] + channel, tap[3 * rows] + channel, x);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) S::dot_each(all[j], x[j], S::load(weight + 64 * j));
        }
        requantize(all, to, count < 64 ? int(count) : 64);
    }
}

// All blocks in windows of 4; the last may overlap the one before. The windows are prepared once and serve every band.
template <class S>
static bool depthwise_wide(const qk::Layer& layer, const qk::Conv& conv, const int8_t* image, qk::Range range, int64_t pitch, int8_t* out) {
    const int fours = (layer.inputs + 3) / 4, windows = (range.block1 - range.block0 + 3) / 4;
    const int64_t bytes = Window::bytes(fours);
    auto* memory = static_cast<int8_t*>(qk::scratch(qk::kPatches, windows * bytes));
    if (!memory) return false;
    const auto block_of = [=](int i) { return i + 1 < windows ? range.block0 + 4 * i : range.block1 - 4; };
    const auto window_of = [=](int i) -> Window& { return *reinterpret_cast<Window*>(memory + i * bytes); };
    for (int i = 0; i < windows; ++i) window_of(i).prepare(layer, block_of(i), fours);
    return each_band(layer, conv, image, range, [&](const DepthwiseTaps& taps, int64_t row) {
        for (int i = 0; i < windows; ++i) depthwise_window<S>(layer, block_of(i), window_of(i), taps, row, pitch, out);
    });
}

static bool depthwise_int8(const qk::Layer& layer, const qk::Conv& conv, const int8_t* image, qk::Range range, int64_t pitch,
                           int8_t* out) {
    if constexpr (Simd::kWide)
        if (range.block1 - range.block0 >= 4) return depthwise_wide<Simd>(layer, conv, image, range, pitch, out);
    return each_band(layer, conv, image, range, [&](const DepthwiseTaps& taps, int64_t row) {
        for (int block = range.block0; block < range.block1; ++block) depthwise_block(layer, block, taps, row, pitch, out);
    });
}
