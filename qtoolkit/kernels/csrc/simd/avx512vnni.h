// AVX-512 VNNI: `vpdpbusd` multiplies 64 bytes by 64 bytes and adds each group of 4 products to one of 16 int32 sums: 64
// multiply-adds in one instruction, without a saturating step in between. It wants its first operand unsigned, so inputs
// are moved from -128..127 to 0..255 by flipping the sign bit, which adds 128 (kOffset). A tile of 8 rows x 3 blocks or
// 6 x 4 keeps 24 sums in registers: each loaded weight is used by every row, each spread input by every block.
#pragma once
#include <immintrin.h>

struct Simd {
    struct Sums { __m512i all; };
    struct Inputs { __m512i all; };
    struct Weights { __m512i all; };
    static constexpr int kOffset = 128, kMostRows = 8, kMostSums = 24;

    static Sums zero() { return {_mm512_setzero_si512()}; }
    static Sums sums(const int32_t* from) { return {_mm512_loadu_si512(from)}; }
    static Weights load(const int8_t* w) { return {_mm512_loadu_si512(w)}; }
    static void store(int32_t* to, const Sums& sums) { _mm512_storeu_si512(to, sums.all); }
    static void add(Sums& sums, const Sums& more) { sums.all = _mm512_add_epi32(sums.all, more.all); }
    static void dot(Sums& sums, const Inputs& x, const Weights& w) { sums.all = _mm512_dpbusd_epi32(sums.all, x.all, w.all); }

    static Inputs spread(const int8_t* x) {
        int32_t four;
        __builtin_memcpy(&four, x, 4);
        return {_mm512_set1_epi32(four)};
    }

    static Weights interleave(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d) {
        const auto load16 = [](const int8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); };
        __m512i all = _mm512_inserti32x4(_mm512_castsi128_si512(load16(a)), load16(b), 1);  // one pixel in each quarter
        all = _mm512_inserti32x4(_mm512_inserti32x4(all, load16(c), 2), load16(d), 3);
        const __m512i fours = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        const __m128i bytes = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        return {_mm512_shuffle_epi8(_mm512_permutexvar_epi32(fours, all), _mm512_broadcast_i32x4(bytes))};
    }
    // the same for 64 channels; x[j] has channels 16 q + 4 j + i at words 4 q + i
    static constexpr bool kWide = true;
    static void interleave64(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, Weights* x) {
        const __m512i p = _mm512_loadu_si512(a), q = _mm512_loadu_si512(b), r = _mm512_loadu_si512(c), s = _mm512_loadu_si512(d);
        const __m512i first = _mm512_unpacklo_epi8(p, q), second = _mm512_unpacklo_epi8(r, s);
        const __m512i third = _mm512_unpackhi_epi8(p, q), fourth = _mm512_unpackhi_epi8(r, s);
        x[0].all = _mm512_unpacklo_epi16(first, second), x[1].all = _mm512_unpackhi_epi16(first, second);
        x[2].all = _mm512_unpacklo_epi16(third, fourth), x[3].all = _mm512_unpackhi_epi16(third, fourth);
    }
    static void dot_each(Sums& sums, const Weights& x, const Weights& w) { sums.all = _mm512_dpbusd_epi32(sums.all, x.all, w.all); }

    template <int Bits>
    static Weights unpack(const Weights& packed, int part) {
        return {_mm512_and_si512(_mm512_srli_epi16(packed.all, unsigned(Bits * part)), _mm512_set1_epi8((1 << Bits) - 1))};
    }
    static void dot_small(Sums& sums, const Inputs& x, const Weights& w) {  // here the weights are the unsigned operand
        sums.all = _mm512_dpbusd_epi32(sums.all, w.all, x.all);
    }
    struct Reals { __m512 all; };
    static void add_scaled(Reals& total, const Sums& sums, int32_t correction, const float* scale) {
        const __m512 exact = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums.all, _mm512_set1_epi32(correction)));
        total.all = _mm512_add_ps(total.all, _mm512_mul_ps(exact, _mm512_loadu_ps(scale)));
    }
    static void store(float* to, const Reals& reals) { _mm512_storeu_ps(to, reals.all); }

    static void count_differences(Sums& sums, uint32_t x, const Weights& w) {
        count_ones(sums, _mm512_xor_si512(_mm512_set1_epi32(int32_t(x)), w.all));
    }
    static void count_differences(Sums& sums, uint32_t x, const Weights& w, const Weights& where) {
        count_ones(sums, _mm512_ternarylogic_epi32(_mm512_set1_epi32(int32_t(x)), w.all, where.all, 0x28));  // (x xor w) and where
    }
    static void count_ones(Sums& sums, __m512i differ) {
#ifdef __AVX512VPOPCNTDQ__
        sums.all = _mm512_add_epi32(sums.all, _mm512_popcnt_epi32(differ));
#else  // ones of each half byte by table; the dot product with ones adds up the 4 bytes of a word
        const __m512i ones = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        const __m512i half = _mm512_set1_epi8(15);
        const __m512i low = _mm512_shuffle_epi8(ones, _mm512_and_si512(differ, half));
        const __m512i high = _mm512_shuffle_epi8(ones, _mm512_and_si512(_mm512_srli_epi16(differ, 4), half));
        sums.all = _mm512_dpbusd_epi32(sums.all, _mm512_add_epi8(low, high), _mm512_set1_epi8(1));
#endif
    }
    static constexpr bool kCarries = true;  // and what count_pairs in binary.h needs
    static Weights nothing() { return {_mm512_setzero_si512()}; }
    static Weights differences(uint32_t x, const Weights& w) { return {_mm512_xor_si512(_mm512_set1_epi32(int32_t(x)), w.all)}; }
    static Weights parity(const Weights& a, const Weights& b, const Weights& c) { return {_mm512_ternarylogic_epi32(a.all, b.all, c.all, 0x96)}; }
    static Weights carries(const Weights& before, const Weights& s, const Weights& after) {  // two of before, s and before xor s xor after
        return {_mm512_ternarylogic_epi32(s.all, before.all, after.all, 0xd4)};
    }
    static void count_ones(Sums& sums, const Weights& bits) { count_ones(sums, bits.all); }
    static Reals sum_of_signs(const Sums& differ, const Reals& all, const Reals& scale, const Reals& bias) {
        const __m512 sum = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(differ.all), _mm512_set1_ps(2), all.all);
        return {_mm512_add_ps(_mm512_mul_ps(sum, scale.all), bias.all)};
    }
    static uint32_t negatives(const float* x) { return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_setzero_ps(), _CMP_LT_OQ); }

    struct Table { __m512 low, high; };
    static Table table(const float* entries) { return {_mm512_loadu_ps(entries), _mm512_loadu_ps(entries + 16)}; }
    template <int Bits>
    static Reals look_up(const Table& table, const Weights& w, int shift) {  // uses the low 4 or 5 bits of each word by itself
        const __m512i index = shift ? _mm512_srli_epi32(w.all, unsigned(shift)) : w.all;
        return {Bits == 4 ? _mm512_permutexvar_ps(index, table.low) : _mm512_permutex2var_ps(table.low, index, table.high)};
    }
    static Reals load(const float* from) { return {_mm512_loadu_ps(from)}; }
    static Reals gather(const float* x, const uint8_t* index) {
        return {_mm512_i32gather_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(index))), x, 4)};
    }

    static void transpose(Reals* r) {  // 16 x 16: pairs of rows, pairs of pairs, then quarters of registers
        __m512 a[16], b[16];
        for (int i = 0; i < 16; i += 2) a[i] = _mm512_unpacklo_ps(r[i].all, r[i + 1].all), a[i + 1] = _mm512_unpackhi_ps(r[i].all, r[i + 1].all);
        for (int i = 0; i < 16; i += 4)
            for (int j = 0; j < 2; ++j) {
                const __m512d low = _mm512_castps_pd(a[i + j]), high = _mm512_castps_pd(a[i + j + 2]);
                b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high)), b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
            }
        for (int j = 0; j < 4; ++j) {
            const __m512 even = _mm512_shuffle_f32x4(b[j], b[j + 4], 0x88), odd = _mm512_shuffle_f32x4(b[j], b[j + 4], 0xdd);
            const __m512 even_low = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0x88), odd_low = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0xdd);
            r[j].all = _mm512_shuffle_f32x4(even, even_low, 0x88), r[j + 8].all = _mm512_shuffle_f32x4(even, even_low, 0xdd);
            r[j + 4].all = _mm512_shuffle_f32x4(odd, odd_low, 0x88), r[j + 12].all = _mm512_shuffle_f32x4(odd, odd_low, 0xdd);
        }
    }

    static constexpr int kRealSums = 16;
    static constexpr int kRegisters = 12;
    static Reals reals(float x) { return {_mm512_set1_ps(x)}; }
    static void multiply_add(Reals& sum, const Reals& x, const Reals& w) { sum.all = _mm512_fmadd_ps(x.all, w.all, sum.all); }
    template <class T>
    static void fence(T& x) { __asm__ volatile("" : "+v"(x.all)); }

    class Requantize {  // even and odd outputs apart: products have 64 bits, so only 8 fit a register
      public:
        Requantize(const int32_t* multiplier, const int32_t* shift, const qk::Layer& layer)
            : even_(_mm512_loadu_si512(multiplier), _mm512_and_si512(_mm512_loadu_si512(shift), _mm512_set1_epi64(63))),
              odd_(_mm512_srli_epi64(_mm512_loadu_si512(multiplier), 32),
                   _mm512_and_si512(_mm512_srli_epi64(_mm512_loadu_si512(shift), 32), _mm512_set1_epi64(63))),
              lowest_(_mm512_set1_epi64(layer.lowest - layer.zero)), highest_(_mm512_set1_epi64(layer.highest - layer.zero)),
              zero_(_mm512_set1_epi32(layer.zero)), more_(_mm512_sub_epi32(_mm512_and_si512(_mm512_loadu_si512(shift), _mm512_set1_epi32(63)), _mm512_set1_epi32(33))),
              lowest_code_(_mm_set1_epi8(int8_t(layer.lowest))), highest_code_(_mm_set1_epi8(int8_t(layer.highest))),
              small_(!_mm512_cmplt_epi32_mask(more_, _mm512_setzero_si512())) {
            half_ = _mm512_sllv_epi32(_mm512_set1_epi32(1), more_), more_ = _mm512_add_epi32(more_, _mm512_set1_epi32(1));
        }

        void operator()(const int32_t* sums, int8_t* out) const {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out), codes(_mm512_loadu_si512(sums)));
        }
        // After a shift of 33 or more, as a scale below 1/4 makes it, the low halves of the products are lost whatever they are, so the high
        // halves alone are gathered, rounded and shifted, all 16 at once; they fit int32, and are clamped among the codes.
        __m512i words(__m512i s) const {
            const __m512i even = even_.product(s), odd = odd_.product(_mm512_srli_epi64(s, 32));
            if (small_) {
                const __m512i high = _mm512_permutex2var_epi32(even, _mm512_setr_epi32(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31), odd);
                return _mm512_add_epi32(_mm512_srav_epi32(_mm512_add_epi32(high, half_), more_), zero_);
            }
            const __m512i q = _mm512_mask_blend_epi32(0xaaaa, clamp(even_.rounded(even)), _mm512_slli_epi64(clamp(odd_.rounded(odd)), 32));
            return _mm512_add_epi32(q, zero_);
        }
        __m128i codes(__m512i s) const {
            return _mm_max_epi8(_mm_min_epi8(_mm512_cvtsepi32_epi8(words(s)), highest_code_), lowest_code_);
        }
        // the bytes of four registers of words: quarter q of the result has a quarter of each
        static __m512i pack(__m512i a, __m512i b, __m512i c, __m512i d) {
            return _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        }
        __m512i within(__m512i codes) const {
            return _mm512_max_epi8(_mm512_min_epi8(codes, _mm512_broadcast_i32x4(highest_code_)), _mm512_broadcast_i32x4(lowest_code_));
        }

      private:
        struct Eight {
            __m512i multiplier, shift, half;
            Eight(__m512i m, __m512i s)
                : multiplier(m), shift(s), half(_mm512_sllv_epi64(_mm512_set1_epi64(1), _mm512_sub_epi64(s, _mm512_set1_epi64(1)))) {}
            __m512i product(__m512i sums) const { return _mm512_mul_epi32(sums, multiplier); }  // of the low halves of the lanes
            __m512i rounded(__m512i product) const { return _mm512_srav_epi64(_mm512_add_epi64(product, half), shift); }
        };
        __m512i clamp(__m512i q) const { return _mm512_max_epi64(_mm512_min_epi64(q, highest_), lowest_); }

        Eight even_, odd_;
        __m512i lowest_, highest_, zero_, more_, half_;
        __m128i lowest_code_, highest_code_;
        bool small_;
    };

    class Quantize64 {  // reals to codes by the rule of quantize.h
      public:
        Quantize64(float scale, int32_t zero)
            : scale_(_mm512_set1_ps(scale)), reciprocal_(_mm512_set1_ps(1.0f / scale)), far_(_mm512_set1_ps(512.0f * scale)),
              zero_(_mm512_set1_epi16(int16_t(zero))), most_(_mm512_setzero_si512()) {}

        void operator()(const float* x, int8_t* out) {
            const __m512i first = _mm512_packs_epi32(round(x), round(x + 16)), second = _mm512_packs_epi32(round(x + 32), round(x + 48));
            const __m512i codes = _mm512_packs_epi16(_mm512_adds_epi16(first, zero_), _mm512_adds_epi16(second, zero_));
            const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, codes));
        }
        uint32_t largest_bits() const { return _mm512_reduce_max_epu32(most_); }

      private:
        // x / S as x (1 / S), corrected once by what that leaves over. This misses the rounded quotient only where the true one lies within
        // 2^-45 of the middle between two floats; no such pair of floats next to a half leads to another code (the tests go through them
        // all). What does not fit an int32 becomes the smallest one: right below zero, and above it `far_` prevents that.
        __m512i round(const float* from) {
            const __m512 x = _mm512_loadu_ps(from);
            most_ = _mm512_max_epu32(most_, _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
            const __m512 near = _mm512_min_ps(x, far_), quotient = _mm512_mul_ps(near, reciprocal_);
            return _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_fnmadd_ps(quotient, scale_, near), reciprocal_, quotient));
        }
        __m512 scale_, reciprocal_, far_;
        __m512i zero_, most_;
    };

    class Requantize64 {  // of 64 channels: the saturating packs of four registers at a time leave less work for each
      public:
        Requantize64(const int32_t* multiplier, const int32_t* shift, const qk::Layer& layer, int last = 48)  // 32: of 48 channels
            : part_{{multiplier, shift, layer}, {multiplier + 16, shift + 16, layer}, {multiplier + 32, shift + 32, layer}, {multiplier + last, shift + last, layer}} {}

        void operator()(const Sums* sums, int8_t* out, int count) const {  // channels in the order of interleave64, which packing undoes
            const __m512i codes = packed(sums[0].all, sums[1].all, sums[2].all, sums[3].all);
            if (count == 64) _mm512_storeu_si512(out, codes);
            else _mm512_mask_storeu_epi8(out, (__mmask64(1) << count) - 1, codes);
        }
        template <int Blocks>  // 3 or 4
        void row(const int32_t* sums, int8_t* out) const {  // channels in their own order
            const __m512i codes = packed(_mm512_loadu_si512(sums), _mm512_loadu_si512(sums + 16), _mm512_loadu_si512(sums + 32),
                                         Blocks == 4 ? _mm512_loadu_si512(sums + 48) : _mm512_setzero_si512());
            const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            const __m512i all = _mm512_permutexvar_epi32(order, codes);
            if (Blocks == 4) return _mm512_storeu_si512(out, all);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_castsi512_si256(all));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 32), _mm512_extracti32x4_epi32(all, 2));
        }

      private:
        __m512i packed(__m512i a, __m512i b, __m512i c, __m512i d) const {
            return part_[0].within(Requantize::pack(part_[0].words(a), part_[1].words(b), part_[2].words(c), part_[3].words(d)));
        }
        Requantize part_[4];
    };
};
