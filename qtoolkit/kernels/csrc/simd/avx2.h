// AVX2: no dot product of bytes into 32-bit sums, but `vpmaddubsw` (unsigned x signed bytes, neighboring products added into
// 16 bits, *saturating*) followed by `vpmaddwd` with ones (pairs of 16 bits added into 32). To be exact, x w is computed as
// |x| * (w with the sign of x): |x| <= 128 and |w| <= 127 give at most 2 * 128 * 127 = 32512 < 32768, so nothing saturates.
// That is why the weights of a layer may not be -128.
#pragma once
#include "halves256.h"

struct Simd : Halves256 {
    struct Inputs { __m256i sign, size; };
    static constexpr int kOffset = 0, kMostRows = 4, kMostSums = 4;

    static Inputs spread(const int8_t* x) {
        int32_t four;
        __builtin_memcpy(&four, x, 4);
        const __m256i all = _mm256_set1_epi32(four);
        return {all, _mm256_abs_epi8(all)};
    }
    static __m256i four_products(const Inputs& x, __m256i w) {
        return _mm256_madd_epi16(_mm256_maddubs_epi16(x.size, _mm256_sign_epi8(w, x.sign)), _mm256_set1_epi16(1));
    }
    static void dot(Sums& sums, const Inputs& x, const Weights& w) {
        sums.low = _mm256_add_epi32(sums.low, four_products(x, w.low));
        sums.high = _mm256_add_epi32(sums.high, four_products(x, w.high));
    }
    static void dot_each(Sums& sums, const Weights& x, const Weights& w) {
        sums.low = _mm256_add_epi32(sums.low, four_products({x.low, _mm256_abs_epi8(x.low)}, w.low));
        sums.high = _mm256_add_epi32(sums.high, four_products({x.high, _mm256_abs_epi8(x.high)}, w.high));
    }
    static void dot_small(Sums& sums, const Inputs& x, const Weights& w) {  // here the weights are the unsigned operand
        const auto add = [&](__m256i sum, __m256i u) {
            return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(u, x.sign), _mm256_set1_epi16(1)));
        };
        sums.low = add(sums.low, w.low), sums.high = add(sums.high, w.high);
    }

    using Halves256::fence;
    static void fence(Inputs& x) { __asm__ volatile("" : "+x"(x.sign), "+x"(x.size)); }
};
