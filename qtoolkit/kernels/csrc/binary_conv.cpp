// A convolution of signs is the binary product of binary.h on rows of bits: for each output pixel, the words of all the pixels
// that its kernel sees, one after another.
//
// With int8 such rows are never copied (conv.h lends pointers instead), because a copy costs as much as the reading it saves.
// Bits are eight times fewer: an image of 64 channels is two words a pixel, so the rows of a band of output pixels are
// gathered in the first-level cache, taps x words each, and every block of 16 outputs then reads them there.
// Each image is reduced to its signs once. Padding is the real number 0, whose sign counts as +1: words of 0. Channels that do
// not fill a word leave bits of 0 on both sides, which never differ.
#include <atomic>
#include <cstring>

#include "kernels.h"
#include "pool.h"

namespace qk {
namespace {

constexpr int64_t kBand = 64;               // output pixels
constexpr int64_t kWorthAThread = 1 << 22;  // multiply-adds

// The words of every pixel that output pixel `at` sees.
void gather(const Conv& conv, const uint32_t* pixels, int64_t words, int64_t at, uint32_t* to) {
    const int64_t top = at / conv.out_width * conv.stride[0] - conv.padding[0], left = at % conv.out_width * conv.stride[1] - conv.padding[1];
    const bool together = conv.dilation[1] == 1 && left >= 0 && left + conv.kernel[1] <= conv.width;
    for (int32_t i = 0; i < conv.kernel[0]; ++i) {
        const int64_t y = top + int64_t(i) * conv.dilation[0];
        if (together && y >= 0 && y < conv.height) {
            std::memcpy(to, pixels + (y * conv.width + left) * words, size_t(conv.kernel[1] * words) * 4), to += conv.kernel[1] * words;
            continue;
        }
        for (int32_t j = 0; j < conv.kernel[1]; ++j, to += words) {
            const int64_t x = left + int64_t(j) * conv.dilation[1];
            if (y < 0 || x < 0 || y >= conv.height || x >= conv.width) std::memset(to, 0, size_t(words) * 4);
            else std::memcpy(to, pixels + (y * conv.width + x) * words, size_t(words) * 4);
        }
    }
}

}  // namespace
}  // namespace qk

using namespace qk;

int qk_table_conv(const void* bytes, int64_t size, const float* x, int64_t images, int64_t channels, const int32_t* geometry, float* out,
                  int64_t n, int threads) {
    Table layer;
    Conv conv;
    if (!open_table(bytes, size, layer) || layer.bits > 2) return QK_BAD_LAYER;
    std::memcpy(&conv, geometry, sizeof conv);
    if (images < 0 || channels != layer.inputs || n != layer.outputs || !fits(conv) || conv.groups != 1 ||
        int64_t(conv.kernel[0]) * conv.kernel[1] != layer.taps)
        return QK_BAD_SHAPE;
    const int64_t in_pixels = int64_t(conv.height) * conv.width, out_pixels = int64_t(conv.out_height) * conv.out_width;
    const int64_t words = layer.words / layer.taps, bands = (out_pixels + kBand - 1) / kBand;
    threads = worth(threads, images * out_pixels * n * channels * layer.taps, kWorthAThread);
    std::atomic<bool> done{true}, finite{true};
    each_image(images, threads, [&](int64_t image, int inner_threads) {
        auto* pixels = static_cast<uint32_t*>(scratch(kRowCodes, in_pixels * words * 4));
        if (!pixels) return void(done = false);
        if (!kernels().signs_of_rows(x + image * in_pixels * channels, in_pixels, channels, pixels)) return void(finite = false);
        parallel_for(bands, inner_threads, [&](int64_t band) {
            auto* rows = static_cast<uint32_t*>(scratch(kPrepared, kBand * layer.words * 4));
            if (!rows) return void(done = false);
            const int64_t first = band * kBand, count = out_pixels - first < kBand ? out_pixels - first : kBand;
            for (int64_t i = 0; i < count; ++i) gather(conv, pixels, words, first + i, rows + i * layer.words);
            if (!kernels().binary(layer, rows, Range{0, count, 0, layer.blocks}, out + (image * out_pixels + first) * n)) done = false;
        });
    });
    return !done ? QK_NO_MEMORY : finite ? QK_OK : QK_NOT_FINITE;
}
