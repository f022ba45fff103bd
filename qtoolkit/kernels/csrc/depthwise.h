// Depthwise convolution: each channel is filtered by itself, so there is no sum over channels that a matrix product could take.
//
// The 16 lanes are 16 neighboring channels (they lie together: NHWC), and the 4 bytes that one dot product adds up are 4 taps:
// 16 bytes of each of 4 pixels are loaded and interleaved as the weights are, byte i of word j = tap i of channel j. The weights
// are those of a linear layer whose inputs are the taps, in the one packed form of qk.h; taps beyond the last (a 3x3 filter has
// 9 of 12) have zero weights and point to the border pixel. Interleaving costs two shuffles for 64 products. The loads come from
// the first-level cache, since the filters of neighboring pixels overlap. Arithmetic is small here, so what surrounds it counts:
// pointers to the taps are found once for a band of pixels and serve every block of channels; biases and multipliers
// are prepared once for a block and serve every pixel of the band.
#pragma once

static bool depthwise_int8(const qk::Layer& layer, const qk::Conv& conv, const int8_t* image, qk::Range range, int64_t pitch,
                           int8_t* out) {
    const int taps = layer.inputs, fours = (taps + 3) / 4, padded = layer.blocks * 16;
    auto* at = static_cast<const int8_t**>(qk::scratch(qk::kPointers, int64_t(fours) * 4 * kRowsOfBand * 8));
    if (!at) return false;
    alignas(64) int32_t sums[16], start[16];
    for (int64_t row = range.row0; row < range.row1; row += kRowsOfBand) {
        const int rows = int(range.row1 - row < kRowsOfBand ? range.row1 - row : kRowsOfBand);
        point_to_taps(conv, image, padded, row, rows, at);
        for (int64_t i = int64_t(taps) * rows; i < int64_t(fours) * 4 * rows; ++i)
            at[i] = image + int64_t(conv.height) * conv.width * padded;
        for (int block = range.block0; block < range.block1; ++block) {
            start_of(layer, block, start);
            const Simd::Requantize requantize(layer.multiplier + block * 16, layer.shift + block * 16, layer);
            const int8_t* weight = layer.weight + block * layer.block_bytes;
            const int64_t channel = block * 16;
            for (int r = 0; r < rows; ++r) {
                Simd::Sums all = Simd::sums(start);
                const int8_t* const* tap = at + r;
                for (int four = 0; four < fours; ++four, tap += 4 * rows)
                    Simd::dot_each(all, Simd::interleave(tap[0] + channel, tap[rows] + channel, tap[2 * rows] + channel, tap[3 * rows] + channel),
                                   Simd::load(weight + four * 64));
                Simd::store(sums, all);
                write_block(layer.outputs, pitch, block, row + r, out, [&](int8_t* to) { requantize(sums, to); });
            }
        }
    }
    return true;
}
