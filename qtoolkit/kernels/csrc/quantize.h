// Real numbers to int8 codes: q = clamp(round_half_even(x / S) + Z, -128, 127), in loops that every compiler vectorizes.
//
// Rounding without a rounding instruction: adding 1.5 x 2^23 to a small float pushes its fraction out of the mantissa, and
// the processor rounds half to even while doing so; the low bits of the sum then *are* the integer. The clamp comes first
// (its ends are whole numbers, so that changes nothing) and keeps the float small enough. NaN and infinity are the floats
// with all exponent bits set, so the largest bit pattern without sign tells whether there was any.
#pragma once

constexpr float kPushOut = 12582912.0f;  // 1.5 x 2^23
constexpr uint32_t kInfinity = 0x7f800000u;
constexpr int64_t kPiece = 1024;

static inline uint32_t bits_of(float x) { uint32_t bits; __builtin_memcpy(&bits, &x, 4); return bits; }
static inline float float_of(uint32_t bits) { float x; __builtin_memcpy(&x, &bits, 4); return x; }

// the bit pattern of max |x|; it orders as the numbers do, with infinity and NaN on top
static uint32_t largest_bits(const float* x, int64_t count) {
    uint32_t most = 0;
    for (int64_t i = 0; i < count; ++i) {
        const uint32_t bits = bits_of(x[i]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return most;
}

static bool finite(const float* x, int64_t count) { return largest_bits(x, count) < kInfinity; }

static void encode(const float* x, int64_t count, float scale, int32_t zero, int8_t* out) {
    const float lowest = float(-128 - zero), highest = float(127 - zero);
    const int32_t base = int32_t(bits_of(kPushOut)) - zero;
    for (int64_t i = 0; i < count; ++i) {
        float code = x[i] / scale;
        code = code > lowest ? code : lowest;
        code = code < highest ? code : highest;
        out[i] = int8_t(int32_t(bits_of(code + kPushOut)) - base);
    }
}

// 64 at a time where registers are that wide; returns how many, and in `most` their largest bits. A division takes as long as all the
// rest, so Quantize64 multiplies by 1 / S, which is exact enough only where 1 / S and what is left over are ordinary numbers.
template <class S>
static int64_t quantize_wide(const float* x, int64_t count, float scale, int32_t zero, int8_t* out, uint32_t& most) {
    int64_t i = 0;
    if constexpr (S::kWide) {
        if (scale < 1e-18f || scale > 1e18f) return i;
        typename S::Quantize64 quantize(scale, zero);
        for (; i + 64 <= count; i += 64) quantize(x + i, out + i);
        most = quantize.largest_bits();
    }
    return i;
}

static bool quantize(const float* x, int64_t count, float scale, int32_t zero, int8_t* out) {
    uint32_t most = 0;
    // what is left goes in pieces that stay in the first-level cache between the two loops
    for (int64_t i = quantize_wide<Simd>(x, count, scale, zero, out, most); i < count; i += kPiece) {
        const int64_t piece = count - i < kPiece ? count - i : kPiece;
        const uint32_t bits = largest_bits(x + i, piece);
        most = bits > most ? bits : most;
        encode(x + i, piece, scale, zero, out + i);
    }
    return most < kInfinity;
}

// One row with its own scale, S = max|x| / 127; a row of zeros gets S = 1 (the rule of quantizers.choose_qparams).
static bool quantize_row(const float* x, int64_t count, float* scale, int8_t* out) {
    const uint32_t most = largest_bits(x, count);
    float s = float_of(most < kInfinity ? most : 0) / 127.0f;
    s = s > 0.0f ? s : 1.0f;
    s = s < 1.17549435e-38f ? 1.17549435e-38f : s > 3.40282347e38f / 255.0f ? 3.40282347e38f / 255.0f : s;
    *scale = s;
    uint32_t again;
    const int64_t done = quantize_wide<Simd>(x, count, s, 0, out, again);
    encode(x + done, count - done, s, 0, out + done);
    return most < kInfinity;
}
