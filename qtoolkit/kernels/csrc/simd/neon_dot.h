// ARM: `sdot` adds 4 signed products to each of 4 int32 sums, so 16 outputs take four 128-bit registers and no offset is
// needed. 4 rows x 1 block keep 16 sums of the 32 registers. `vrshlq` by a negative count is the rounding right shift.
#pragma once
#include <arm_neon.h>

struct Simd {
    struct Sums { int32x4_t quarter[4]; };
    struct Inputs { int8x16_t all; };
    struct Weights { int8x16_t quarter[4]; };
    static constexpr int kOffset = 0, kMostRows = 4, kMostSums = 4;

    static Sums zero() { return {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}}; }
    static Sums sums(const int32_t* from) { return {{vld1q_s32(from), vld1q_s32(from + 4), vld1q_s32(from + 8), vld1q_s32(from + 12)}}; }
    static Weights load(const int8_t* w) { return {{vld1q_s8(w), vld1q_s8(w + 16), vld1q_s8(w + 32), vld1q_s8(w + 48)}}; }
    static void store(int32_t* to, const Sums& sums) {
        for (int i = 0; i < 4; ++i) vst1q_s32(to + 4 * i, sums.quarter[i]);
    }
    static Inputs spread(const int8_t* x) {
        int32_t four;
        __builtin_memcpy(&four, x, 4);
        return {vreinterpretq_s8_s32(vdupq_n_s32(four))};
    }
    static void add(Sums& sums, const Sums& more) {
        for (int i = 0; i < 4; ++i) sums.quarter[i] = vaddq_s32(sums.quarter[i], more.quarter[i]);
    }
    static void dot(Sums& sums, const Inputs& x, const Weights& w) {
        for (int i = 0; i < 4; ++i) sums.quarter[i] = vdotq_s32(sums.quarter[i], w.quarter[i], x.all);
    }

    static constexpr bool kWide = false;  // depthwise.h: 16 channels at a time
    static Weights interleave(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d) {
        const int8x16x2_t ab = vzipq_s8(vld1q_s8(a), vld1q_s8(b)), cd = vzipq_s8(vld1q_s8(c), vld1q_s8(d));
        Weights x;
        for (int i = 0; i < 2; ++i) {
            const int16x8x2_t both = vzipq_s16(vreinterpretq_s16_s8(ab.val[i]), vreinterpretq_s16_s8(cd.val[i]));
            x.quarter[2 * i] = vreinterpretq_s8_s16(both.val[0]), x.quarter[2 * i + 1] = vreinterpretq_s8_s16(both.val[1]);
        }
        return x;
    }
    static void dot_each(Sums& sums, const Weights& x, const Weights& w) {
        for (int i = 0; i < 4; ++i) sums.quarter[i] = vdotq_s32(sums.quarter[i], w.quarter[i], x.quarter[i]);
    }

    template <int Bits>
    static Weights unpack(const Weights& packed, int part) {
        Weights w;
        for (int i = 0; i < 4; ++i) {
            const uint8x16_t shifted = vshlq_u8(vreinterpretq_u8_s8(packed.quarter[i]), vdupq_n_s8(int8_t(-Bits * part)));
            w.quarter[i] = vreinterpretq_s8_u8(vandq_u8(shifted, vdupq_n_u8((1 << Bits) - 1)));
        }
        return w;
    }
    static void dot_small(Sums& sums, const Inputs& x, const Weights& w) { dot(sums, x, w); }
    struct Reals { float32x4_t quarter[4]; };
    static void add_scaled(Reals& total, const Sums& sums, int32_t correction, const float* scale) {
        for (int i = 0; i < 4; ++i) {
            const float32x4_t exact = vcvtq_f32_s32(vsubq_s32(sums.quarter[i], vdupq_n_s32(correction)));
            total.quarter[i] = vaddq_f32(total.quarter[i], vmulq_f32(exact, vld1q_f32(scale + 4 * i)));
        }
    }
    static void store(float* to, const Reals& reals) {
        for (int i = 0; i < 4; ++i) vst1q_f32(to + 4 * i, reals.quarter[i]);
    }

    static void count_differences(Sums& sums, uint32_t x, const Weights& w, const Weights& where) {
        const int8x16_t all = vreinterpretq_s8_u32(vdupq_n_u32(x));
        for (int i = 0; i < 4; ++i) {
            const int8x16_t ones = vcntq_s8(vandq_s8(veorq_s8(all, w.quarter[i]), where.quarter[i]));
            sums.quarter[i] = vdotq_s32(sums.quarter[i], ones, vdupq_n_s8(1));
        }
    }
    static void count_differences(Sums& sums, uint32_t x, const Weights& w) {
        const int8x16_t ones = vdupq_n_s8(-1);
        count_differences(sums, x, w, {{ones, ones, ones, ones}});
    }
    static constexpr bool kCarries = false;  // binary.h counts word by word
    static Reals sum_of_signs(const Sums& differ, const Reals& all, const Reals& scale, const Reals& bias) {
        Reals y;
        for (int i = 0; i < 4; ++i) {
            const float32x4_t sum = vsubq_f32(all.quarter[i], vcvtq_f32_s32(vaddq_s32(differ.quarter[i], differ.quarter[i])));
            y.quarter[i] = vaddq_f32(vmulq_f32(sum, scale.quarter[i]), bias.quarter[i]);
        }
        return y;
    }
    static uint32_t negatives(const float* x) {
        uint32_t bits = 0;
        for (int i = 0; i < 16; ++i) bits |= uint32_t(x[i] < 0) << i;
        return bits;
    }

    struct Table { const float* entries; };
    static Table table(const float* entries) { return {entries}; }
    template <int Bits>
    static Reals look_up(const Table& table, const Weights& w, int shift) {
        uint32_t words[16];
        float found[16];
        for (int i = 0; i < 4; ++i) vst1q_u32(words + 4 * i, vreinterpretq_u32_s8(w.quarter[i]));
        for (int j = 0; j < 16; ++j) found[j] = table.entries[words[j] >> shift & ((1 << Bits) - 1)];
        return load(found);
    }
    static Reals load(const float* from) { return {{vld1q_f32(from), vld1q_f32(from + 4), vld1q_f32(from + 8), vld1q_f32(from + 12)}}; }
    static Reals gather(const float* x, const uint8_t* index) {
        float found[16];
        for (int j = 0; j < 16; ++j) found[j] = x[index[j]];
        return load(found);
    }

    static constexpr int kRealSums = 4;
    static constexpr int kRegisters = 4;  // of four quarters each
    static Reals reals(float x) { return {{vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x)}}; }
    static void multiply_add(Reals& sum, const Reals& x, const Reals& w) {
        for (int i = 0; i < 4; ++i) sum.quarter[i] = vfmaq_f32(sum.quarter[i], x.quarter[i], w.quarter[i]);
    }
    template <class T>
    static void fence(T& x) {
        __asm__ volatile("" : "+w"(x.quarter[0]), "+w"(x.quarter[1]), "+w"(x.quarter[2]), "+w"(x.quarter[3]));
    }

    static void fence(Inputs& x) { __asm__ volatile("" : "+w"(x.all)); }

    class Requantize {
      public:
        Requantize(const int32_t* multiplier, const int32_t* shift, const qk::Layer& layer)
            : multiplier_(multiplier), shift_(shift), lowest_(vdupq_n_s64(layer.lowest - layer.zero)),
              highest_(vdupq_n_s64(layer.highest - layer.zero)), zero_(vdupq_n_s32(layer.zero)) {}

        void operator()(const int32_t* sums, int8_t* out) const {
            int16x4_t quarter[4];
            for (int i = 0; i < 4; ++i) {
                const int32x4_t s = vld1q_s32(sums + 4 * i), m = vld1q_s32(multiplier_ + 4 * i);
                const int32x4_t by = vandq_s32(vld1q_s32(shift_ + 4 * i), vdupq_n_s32(63));
                const int64x2_t low = scale(vget_low_s32(s), vget_low_s32(m), vget_low_s32(by));
                const int64x2_t high = scale(vget_high_s32(s), vget_high_s32(m), vget_high_s32(by));
                quarter[i] = vmovn_s32(vaddq_s32(vcombine_s32(vmovn_s64(low), vmovn_s64(high)), zero_));
            }
            const int8x8_t first = vmovn_s16(vcombine_s16(quarter[0], quarter[1]));
            vst1q_s8(out, vcombine_s8(first, vmovn_s16(vcombine_s16(quarter[2], quarter[3]))));
        }

      private:
        int64x2_t scale(int32x2_t sums, int32x2_t multiplier, int32x2_t shift) const {
            int64x2_t q = vrshlq_s64(vmull_s32(sums, multiplier), vnegq_s64(vmovl_s32(shift)));
            q = vbslq_s64(vcgtq_s64(q, highest_), highest_, q);
            return vbslq_s64(vcgtq_s64(lowest_, q), lowest_, q);
        }

        const int32_t *multiplier_, *shift_;
        int64x2_t lowest_, highest_;
        int32x4_t zero_;
    };
};
