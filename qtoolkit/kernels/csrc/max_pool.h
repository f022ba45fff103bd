// Max-pooling of codes: each output pixel takes, channel by channel, the largest code of its window.
//
// No arithmetic to speak of: the channels of a pixel lie together, so a window is a few runs of bytes, compared a register at a
// time by the loop that the compiler vectorizes. Windows may overlap; rows and columns that no whole window reaches are left out.
#pragma once

static void max_pool(const int8_t* x, const qk::Conv& conv, int channels, int8_t* __restrict__ out) {
    for (int64_t oy = 0; oy < conv.out_height; ++oy)
        for (int64_t ox = 0; ox < conv.out_width; ++ox, out += channels) {
            const int8_t* corner = x + (oy * conv.stride[0] * conv.width + ox * conv.stride[1]) * channels;
            for (int i = 0; i < channels; ++i) out[i] = corner[i];
            for (int64_t ky = 0; ky < conv.kernel[0]; ++ky)
                for (int64_t kx = 0; kx < conv.kernel[1]; ++kx) {
                    const int8_t* tap = corner + (ky * conv.width + kx) * channels;
                    for (int i = 0; i < channels; ++i) out[i] = tap[i] > out[i] ? tap[i] : out[i];
                }
        }
}
