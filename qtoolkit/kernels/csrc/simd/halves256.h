// What AVX2 and AVX-VNNI have in common: 16 numbers are two registers of 8, low and high. Everything but the dot product of
// bytes is the same on both, so it stands here once; a Simd of 256 bits adds its Inputs, spread, dot and dot_small.
#pragma once
#include "avx2_reals.h"
#include "avx2_requantize.h"

struct Halves256 {
    struct Sums { __m256i low, high; };
    struct Weights { __m256i low, high; };

    static Sums zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static Sums sums(const int32_t* from) {
        const auto* at = reinterpret_cast<const __m256i*>(from);
        return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
    }
    static Weights load(const int8_t* w) {
        const auto* at = reinterpret_cast<const __m256i*>(w);
        return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
    }
    static void store(int32_t* to, const Sums& sums) {
        auto* at = reinterpret_cast<__m256i*>(to);
        _mm256_storeu_si256(at, sums.low), _mm256_storeu_si256(at + 1, sums.high);
    }
    static void add(Sums& sums, const Sums& more) {
        sums.low = _mm256_add_epi32(sums.low, more.low), sums.high = _mm256_add_epi32(sums.high, more.high);
    }

    static constexpr bool kWide = false;  // depthwise.h: 16 channels at a time
    static Weights interleave(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d) {
        const auto load16 = [](const int8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); };
        const __m128i x = load16(a), y = load16(b), z = load16(c), t = load16(d);
        const __m128i first = _mm_unpacklo_epi8(x, y), second = _mm_unpacklo_epi8(z, t);
        const __m128i third = _mm_unpackhi_epi8(x, y), fourth = _mm_unpackhi_epi8(z, t);
        return {_mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second)),
                _mm256_set_m128i(_mm_unpackhi_epi16(third, fourth), _mm_unpacklo_epi16(third, fourth))};
    }

    template <int Bits>
    static Weights unpack(const Weights& packed, int part) {
        const __m256i mask = _mm256_set1_epi8((1 << Bits) - 1);
        return {_mm256_and_si256(_mm256_srli_epi16(packed.low, Bits * part), mask),
                _mm256_and_si256(_mm256_srli_epi16(packed.high, Bits * part), mask)};
    }

    using Reals = Reals256;
    static __m256 scaled(__m256i sums, int32_t correction, const float* scale) {
        return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(sums, _mm256_set1_epi32(correction))), _mm256_loadu_ps(scale));
    }
    static void add_scaled(Reals& total, const Sums& sums, int32_t correction, const float* scale) {
        total.low = _mm256_add_ps(total.low, scaled(sums.low, correction, scale));
        total.high = _mm256_add_ps(total.high, scaled(sums.high, correction, scale + 8));
    }
    static void store(float* to, const Reals& reals) { _mm256_storeu_ps(to, reals.low), _mm256_storeu_ps(to + 8, reals.high); }

    static void count_differences(Sums& sums, uint32_t x, const Weights& w) { count_ones(sums, differences(x, w)); }
    static void count_differences(Sums& sums, uint32_t x, const Weights& w, const Weights& where) {
        const Weights differ = differences(x, w);
        count_ones(sums, Weights{_mm256_and_si256(differ.low, where.low), _mm256_and_si256(differ.high, where.high)});
    }
    static __m256 sum_of_signs(__m256i differ, __m256 all, __m256 scale, __m256 bias) {
        const __m256 sum = _mm256_sub_ps(all, _mm256_cvtepi32_ps(_mm256_add_epi32(differ, differ)));
        return _mm256_add_ps(_mm256_mul_ps(sum, scale), bias);
    }
    static constexpr bool kCarries = true;  // and what count_pairs in binary.h needs
    static Weights nothing() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static Weights differences(uint32_t x, const Weights& w) {
        const __m256i all = _mm256_set1_epi32(int32_t(x));
        return {_mm256_xor_si256(all, w.low), _mm256_xor_si256(all, w.high)};
    }
    static Weights parity(const Weights& a, const Weights& b, const Weights& c) {
        return {_mm256_xor_si256(_mm256_xor_si256(a.low, b.low), c.low), _mm256_xor_si256(_mm256_xor_si256(a.high, b.high), c.high)};
    }
    // two of three: where the first two differ, whether the third is 1, which it is where `after` is 0; else the first
    static __m256i carries(__m256i before, __m256i s, __m256i after) {
        const __m256i differ = _mm256_xor_si256(before, s);
        return _mm256_or_si256(_mm256_andnot_si256(after, differ), _mm256_andnot_si256(differ, before));
    }
    static Weights carries(const Weights& before, const Weights& s, const Weights& after) {
        return {carries(before.low, s.low, after.low), carries(before.high, s.high, after.high)};
    }
    static void count_ones(Sums& sums, const Weights& bits) {
        sums.low = _mm256_add_epi32(sums.low, ones_of_words(bits.low)), sums.high = _mm256_add_epi32(sums.high, ones_of_words(bits.high));
    }
    static Reals sum_of_signs(const Sums& differ, const Reals& all, const Reals& scale, const Reals& bias) {
        return {sum_of_signs(differ.low, all.low, scale.low, bias.low), sum_of_signs(differ.high, all.high, scale.high, bias.high)};
    }
    static uint32_t negatives(const float* x) { return negatives256(x); }

    struct Table { const float* entries; };
    static Table table(const float* entries) { return {entries}; }
    template <int Bits>
    static Reals look_up(const Table& table, const Weights& w, int shift) {
        return {look_up256<Bits>(table.entries, w.low, shift), look_up256<Bits>(table.entries, w.high, shift)};
    }
    static Reals load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
    static Reals gather(const float* x, const uint8_t* index) { return {gather256(x, index), gather256(x, index + 8)}; }

    static constexpr int kRealSums = 4;
    static constexpr int kRegisters = 6;  // of two halves each
    static Reals reals(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
    static void multiply_add(Reals& sum, const Reals& x, const Reals& w) {
        sum.low = _mm256_fmadd_ps(x.low, w.low, sum.low), sum.high = _mm256_fmadd_ps(x.high, w.high, sum.high);
    }
    template <class T>
    static void fence(T& x) { __asm__ volatile("" : "+x"(x.low), "+x"(x.high)); }

    using Requantize = Requantize256;
};
