// A convolution from the outside: check the layer and the geometry, then share out images or, for few of them, their pixels.
#include <atomic>
#include <cstring>
#include <initializer_list>

#include "ranges.h"

namespace qk {
namespace {

constexpr int64_t kWorthAThread = 1 << 20;  // multiply-adds

// How many positions a window has along an axis: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1; 0 if it does not fit.
int64_t positions(const Conv& conv, int axis) {
    const int64_t size = axis ? conv.width : conv.height, reach = int64_t(conv.dilation[axis]) * (int64_t(conv.kernel[axis]) - 1) + 1;
    const int64_t room = size + int64_t(2) * conv.padding[axis] - reach;
    return room < 0 || conv.stride[axis] < 1 ? 0 : room / conv.stride[axis] + 1;
}

}  // namespace

bool find_output_size(Conv& conv) {
    const int64_t height = positions(conv, 0), width = positions(conv, 1);
    if (height > kMostPixels || width > kMostPixels) return false;
    conv.out_height = int32_t(height), conv.out_width = int32_t(width);
    return fits(conv);
}

bool fits(const Conv& conv) {
    const int32_t in[2] = {conv.height, conv.width}, out[2] = {conv.out_height, conv.out_width};
    for (int i = 0; i < 2; ++i) {
        for (int32_t size : {in[i], out[i], conv.kernel[i], conv.stride[i], conv.dilation[i]})
            if (size < 1 || size > kMostPixels) return false;
        if (conv.padding[i] < 0 || conv.padding[i] > kMostPixels || positions(conv, i) != out[i]) return false;
    }
    return true;
}

namespace {

// The layers of a convolution in groups follow each other, all of one size; of the other kinds there is one. One of them alone
// has `inputs` channels of every pixel, padded to `padded`, and its outputs.
struct Groups {
    enum Form { kTaps, kPatches, kDepthwise } form = kTaps;  // how the layer takes its inputs: see conv.h and depthwise.h
    int32_t count = 1, inputs = 0, padded = 0, outputs = 0;
    int64_t bytes = 0;  // of one layer

    int open(const char* layers, int64_t size, const Conv& conv, int64_t channels, int64_t n) {
        const int64_t taps = int64_t(conv.kernel[0]) * conv.kernel[1], groups = conv.groups;
        if (groups < 1 || channels % groups || n % groups) return QK_BAD_SHAPE;
        const bool depthwise = groups > 1 && groups == channels && groups == n;
        count = depthwise ? 1 : conv.groups;
        if (size % count) return QK_BAD_LAYER;
        bytes = size / count, inputs = int32_t(channels / count), outputs = int32_t(n / count);
        for (int32_t group = 0; group < count; ++group) {
            Layer layer;
            if (!open_layer(layers + group * bytes, bytes, layer)) return QK_BAD_LAYER;
            const Form found = depthwise ? kDepthwise : taps > 1 && layer.taps == 1 ? kPatches : kTaps;
            const bool fit = found == kTaps ? layer.inputs == inputs && layer.taps == taps
                                            : layer.inputs == (depthwise ? taps : taps * inputs) && layer.taps == 1;
            if (!fit || layer.outputs != outputs || (group && found != form)) return QK_BAD_SHAPE;
            form = found;
        }
        padded = form == kDepthwise ? (inputs + 15) / 16 * 16 : form == kTaps ? (inputs + 3) / 4 * 4 : inputs;
        return QK_OK;
    }

    // A depthwise task prepares its weights first, and a matrix unit takes all blocks of a pixel, so both have few tasks.
    TaskSize task_size(int64_t pixels, int32_t blocks, int threads) const {
        if (form == kDepthwise) return {(pixels + 2 * threads - 1) / (2 * threads), blocks};
        if (!kernels().matrix_unit) return {};
        return {std::min<int64_t>(96, (pixels / (4 * threads) + 16) / 16 * 16), blocks};
    }
};

constexpr int64_t kPixelBytes = 1 << 15;  // of an image that a task prepares

}  // namespace
}  // namespace qk

using namespace qk;

int qk_conv_int8(const void* bytes, int64_t size, const int8_t* x, int64_t images, int64_t channels, const int32_t* geometry,
                 int8_t* out, int64_t n, int threads) {
    Conv conv;
    Groups groups;
    std::memcpy(&conv, geometry, sizeof conv);
    if (images < 0 || channels < 1 || n < 1 || !fits(conv)) return QK_BAD_SHAPE;
    const auto* layers = static_cast<const char*>(bytes);
    if (const int wrong = groups.open(layers, size, conv, channels, n)) return wrong;
    const int64_t in_pixels = int64_t(conv.height) * conv.width, out_pixels = int64_t(conv.out_height) * conv.out_width;
    const int64_t products = int64_t(conv.kernel[0]) * conv.kernel[1] * n * (channels / conv.groups);
    // A product of a depthwise convolution, which shares its inputs with no other, counts as four: it takes longer, but helpers cost as much.
    threads = worth(threads, images * out_pixels * products * (groups.form == Groups::kDepthwise ? 4 : 1), kWorthAThread);
    std::atomic<bool> done{true};
    const auto one_group = [&](int64_t image, int32_t group, int inner_threads) {
        Layer layer;
        open_layer(layers + group * groups.bytes, groups.bytes, layer);
        auto* const prepared = static_cast<int8_t*>(scratch(kPrepared, (in_pixels + 1) * groups.padded + 8));  // `copy_patch` reads 8 bytes at a time
        if (!prepared) return done.store(false);
        const int8_t* from = x + image * in_pixels * channels + int64_t(group) * groups.inputs;
        const int64_t each = inner_threads == 1 ? in_pixels : kPixelBytes / groups.padded + 1;
        parallel_for((in_pixels + each - 1) / each, inner_threads, [&](int64_t task) {
            kernels().prepare_image(from, task * each, std::min(in_pixels, task * each + each), in_pixels, channels, groups.inputs, groups.padded,
                                    layer.input_zero, prepared);
        });
        const auto compute = groups.form == Groups::kDepthwise ? kernels().depthwise_int8
                             : groups.form == Groups::kPatches ? kernels().conv_patches : kernels().conv_int8;
        int8_t* to = out + image * out_pixels * n + int64_t(group) * groups.outputs;
        const auto part = [&](Range range) { return compute(layer, conv, prepared, range, n, to); };
        if (!over_ranges(out_pixels, layer.blocks, inner_threads, part, groups.task_size(out_pixels, layer.blocks, inner_threads))) done = false;
    };
    each_image(images, threads, [&](int64_t image, int inner_threads) {
        for (int32_t group = 0; group < groups.count; ++group) one_group(image, group, inner_threads);
    });
    return done ? QK_OK : QK_NO_MEMORY;
}
