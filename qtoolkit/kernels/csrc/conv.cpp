// A convolution from the outside: check the layer and the geometry, then share out images or, for few of them, their pixels.
#include <atomic>
#include <cstring>
#include <initializer_list>

#include "kernels.h"
#include "pool.h"

namespace qk {
namespace {

constexpr int64_t kWorthAThread = 1 << 20;  // multiply-adds

}  // namespace

bool fits(const Conv& conv, int32_t taps) {
    const int32_t in[2] = {conv.height, conv.width}, out[2] = {conv.out_height, conv.out_width};
    for (int i = 0; i < 2; ++i) {
        for (int32_t size : {in[i], out[i], conv.kernel[i], conv.stride[i], conv.dilation[i]})
            if (size < 1 || size > 1 << 20) return false;
        if (conv.padding[i] < 0 || conv.padding[i] > 1 << 20) return false;
        const int64_t reach = int64_t(conv.dilation[i]) * (conv.kernel[i] - 1) + 1;
        if ((in[i] + int64_t(2) * conv.padding[i] - reach) / conv.stride[i] + 1 != out[i]) return false;
    }
    return int64_t(conv.kernel[0]) * conv.kernel[1] == taps;
}

}  // namespace qk

using namespace qk;

int qk_conv_int8(const void* bytes, int64_t size, const int8_t* x, int64_t images, int64_t channels, const int32_t* geometry,
                 int8_t* out, int64_t n, int threads) {
    Layer layer;
    Conv conv;
    if (!open_layer(bytes, size, layer)) return QK_BAD_LAYER;
    std::memcpy(&conv, geometry, sizeof conv);
    if (images < 0 || channels != layer.inputs || n != layer.outputs || !fits(conv, layer.taps)) return QK_BAD_SHAPE;
    const int64_t in_pixels = int64_t(conv.height) * conv.width, out_pixels = int64_t(conv.out_height) * conv.out_width;
    const int64_t most = images * out_pixels * n * channels * layer.taps / kWorthAThread;
    if (threads > most) threads = most < 1 ? 1 : int(most);
    std::atomic<bool> done{true};
    const auto one_image = [&](int64_t image, int inner_threads) {
        const int8_t* prepared = kernels().prepare_image(layer, x + image * in_pixels * channels, in_pixels, layer.input_zero);
        int64_t tasks = 1;
        if (inner_threads > 1) range_of_task(0, out_pixels, layer.blocks, &tasks);
        if (!prepared) done = false;
        else parallel_for(tasks, inner_threads, [&](int64_t task) {
            const Range all{0, out_pixels, 0, layer.blocks};
            const Range range = tasks > 1 ? range_of_task(task, out_pixels, layer.blocks) : all;
            if (!kernels().conv_int8(layer, conv, prepared, range, out + image * out_pixels * n)) done = false;
        });
    };
    if (images >= threads) parallel_for(images, threads, [&](int64_t image) { one_image(image, 1); });
    else for (int64_t image = 0; image < images; ++image) one_image(image, threads);
    return done ? QK_OK : QK_NO_MEMORY;
}
