// Convolution without a copy of every patch: the matrix product of gemm.h, whose rows are output pixels and whose inputs are
// found through pointers (indirect convolution: Dukhan 2019).
//
// A patch of a 3x3 convolution is 9 pieces of C neighboring bytes, since the channels of a pixel lie together (NHWC). So a
// row of the product gets 9 pointers, one a tap, instead of a copy 9 times as large as the image (im2col). A tap beyond the
// border points to a pixel of zero points, which stand for the real number 0. The image itself is copied once, into the form
// that the tile wants: channels padded to a multiple of 4 (16 for depthwise.h), sign bits flipped where the instruction needs
// it. A convolution in groups is one such product for each group: it copies the group's channels and writes the group's outputs
// of every pixel, `pitch` bytes apart. With fewer than 4 channels, as in the first layer of a network, most of such a tap would be
// padding, and finding its pointer would cost more than its products: there the patches are copied after all, each a row of
// taps x channels neighboring bytes, and the layer is a linear one with as many inputs.
#pragma once

// Pixels first .. last - 1 of `pixels`, and behind the last of all the pixel beyond the border.
static void prepare_image(const int8_t* x, int64_t first, int64_t last, int64_t pixels, int64_t pitch, int k, int k4, int32_t zero, int8_t* image) {
    prepare_rows(x + first * pitch, last - first, pitch, k, k4, image + first * k4);
    for (int i = 0; i < k4 && last == pixels; ++i) image[pixels * k4 + i] = int8_t(zero ^ Simd::kOffset);
}

static inline int64_t clamped(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

// The taps of output pixels row, row + 1, ... (`height` of them): those of tap t at [t * height]. Within a line of the output a tap
// steps by the stride, so its pointers are a straight run, with the border before and after it: no pixel is asked by itself whether
// it lies inside.
static inline void point_to_taps(const qk::Conv& conv, const int8_t* image, int k4, int64_t row, int height, const int8_t** at) {
    const int8_t* border = image + int64_t(conv.height) * conv.width * k4;
    const int64_t step = int64_t(conv.stride[1]) * k4;
    for (int done = 0, many; done < height; done += many, at += many) {
        const int64_t out_y = (row + done) / conv.out_width, out_x = (row + done) % conv.out_width;
        many = int(conv.out_width - out_x < height - done ? conv.out_width - out_x : height - done);
        const int64_t top = out_y * conv.stride[0] - conv.padding[0], left = out_x * conv.stride[1] - conv.padding[1];
        const int8_t** to = at;
        for (int64_t ky = 0, y = top; ky < conv.kernel[0]; ++ky, y += conv.dilation[0]) {
            const bool inside = y >= 0 && y < conv.height;
            for (int64_t kx = 0, x = left; kx < conv.kernel[1]; ++kx, x += conv.dilation[1], to += height) {
                int64_t first = 0, last = inside ? many : 0;  // of the pixels with 0 <= x + pixel * stride < width
                if (x < 0) first = clamped((conv.stride[1] - 1 - x) / conv.stride[1], 0, last);
                if (x + (many - 1) * conv.stride[1] >= conv.width) last = clamped((conv.width - 1 - x + conv.stride[1]) / conv.stride[1], first, last);
                const int8_t* from = image + (y * conv.width + x) * k4;
                for (int64_t i = 0; i < first; ++i) to[i] = border;
                for (int64_t i = first; i < last; ++i) to[i] = from + i * step;
                for (int64_t i = last; i < many; ++i) to[i] = border;
            }
        }
    }
}

static inline void copy_fours(const int8_t* from, int64_t bytes, int8_t* to) {
    for (; bytes >= 64; bytes -= 64, from += 64, to += 64) __builtin_memcpy(to, from, 64);
    for (; bytes >= 16; bytes -= 16, from += 16, to += 16) __builtin_memcpy(to, from, 16);
    for (; bytes; bytes -= 4, from += 4, to += 4) __builtin_memcpy(to, from, 4);
}

// The taps at at[0], at[height], ... one after the other; those that are neighbors in memory are copied together.
static inline void copy_taps(const int8_t* const* at, int height, int taps, int64_t k4, int8_t* to) {
    for (int tap = 0, many; tap < taps; tap += many, to += many * k4) {
        const int8_t* from = at[int64_t(tap) * height];
        for (many = 1; tap + many < taps && at[int64_t(tap + many) * height] == from + many * k4;) ++many;
        copy_fours(from, many * k4, to);
    }
}

static bool conv_int8(const qk::Layer& layer, const qk::Conv& conv, const int8_t* image, qk::Range range, int64_t pitch,
                      int8_t* out) {
    const int k4 = (layer.inputs + 3) / 4 * 4;
    auto* at = static_cast<const int8_t**>(qk::scratch(qk::kPointers, int64_t(layer.taps) * kRowsOfBand * 8));
    if (!at) return false;
    for (int64_t row = range.row0; row < range.row1; row += kRowsOfBand) {
        const int rows = int(range.row1 - row < kRowsOfBand ? range.row1 - row : kRowsOfBand);
        point_to_taps(conv, image, k4, row, rows, at);
        const auto copy = [&](int64_t pixel, int8_t* to) { copy_taps(at + (pixel - row), rows, layer.taps, k4, to); };
        const auto finish = [&](int block, int blocks, int64_t pixel, int height, const int32_t* sums) {
            finish_panel(layer, block, blocks, pixel, height, sums, pitch, out);
        };
        if (!gemm_by_tiles(layer, int64_t(layer.taps) * k4, {row, row + rows, range.block0, range.block1}, copy, finish))
            gemm_band(layer, k4, row, rows, range.block0, range.block1, at, finish);
    }
    return true;
}

// The taps of one output pixel side by side; up to 7 bytes beyond them are overwritten.
static inline void copy_patch(const qk::Conv& conv, const int8_t* image, int channels, int64_t row, int8_t* to) {
    const int8_t* border = image + int64_t(conv.height) * conv.width * channels;
    const int64_t top = row / conv.out_width * conv.stride[0] - conv.padding[0], left = row % conv.out_width * conv.stride[1] - conv.padding[1];
    const bool together = conv.dilation[1] == 1 && left >= 0 && left + conv.kernel[1] <= conv.width;
    for (int64_t ky = 0, y = top; ky < conv.kernel[0]; ++ky, y += conv.dilation[0]) {
        const bool within = y >= 0 && y < conv.height;
        if (within && together) {
            const int8_t* from = image + (y * conv.width + left) * channels;
            const int64_t bytes = int64_t(conv.kernel[1]) * channels;
            for (int64_t i = 0; i < bytes; i += 8) __builtin_memcpy(to + i, from + i, 8);
            to += bytes;
        } else {
            for (int64_t kx = 0, x = left; kx < conv.kernel[1]; ++kx, x += conv.dilation[1], to += channels) {
                const int8_t* from = within && x >= 0 && x < conv.width ? image + (y * conv.width + x) * channels : border;
                for (int i = 0; i < channels; ++i) to[i] = from[i];
            }
        }
    }
}

static bool conv_patches(const qk::Layer& layer, const qk::Conv& conv, const int8_t* image, qk::Range range, int64_t pitch,
                         int8_t* out) {
    const int channels = layer.inputs / (conv.kernel[0] * conv.kernel[1]);
    const auto copy = [&](int64_t row, int8_t* to) { copy_patch(conv, image, channels, row, to); };
    const auto patches_of = [&](int64_t row, int64_t rows, int k4) -> const int8_t* {
        auto* patches = static_cast<int8_t*>(qk::scratch(qk::kPatches, int64_t(k4) * kRowsOfBand + 8));
        for (int64_t r = 0; patches && r < rows; ++r) copy(row + r, patches + r * k4);
        return patches;
    };
    return gemm(layer, range, copy, patches_of, [&](int block, int blocks, int64_t pixel, int height, const int32_t* sums) {
        finish_panel(layer, block, blocks, pixel, height, sums, pitch, out);
    });
}
