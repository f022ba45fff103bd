// AVX-VNNI: the same `vpdpbusd` as in AVX-512, on 256-bit registers, for processors without AVX-512 (Intel since 2021, AMD
// Zen 5). 16 outputs take two registers; 6 rows x 1 block keep 12 sums of the 16 registers.
#pragma once
#include "halves256.h"

struct Simd : Halves256 {
    struct Inputs { __m256i all; };
    static constexpr int kOffset = 128, kMostRows = 6, kMostSums = 6;

    static Inputs spread(const int8_t* x) {
        int32_t four;
        __builtin_memcpy(&four, x, 4);
        return {_mm256_set1_epi32(four)};
    }
    static void dot(Sums& sums, const Inputs& x, const Weights& w) {
        sums.low = _mm256_dpbusd_avx_epi32(sums.low, x.all, w.low);
        sums.high = _mm256_dpbusd_avx_epi32(sums.high, x.all, w.high);
    }
    static void dot_each(Sums& sums, const Weights& x, const Weights& w) {
        sums.low = _mm256_dpbusd_avx_epi32(sums.low, x.low, w.low);
        sums.high = _mm256_dpbusd_avx_epi32(sums.high, x.high, w.high);
    }
    static void dot_small(Sums& sums, const Inputs& x, const Weights& w) {  // here the weights are the unsigned operand
        sums.low = _mm256_dpbusd_avx_epi32(sums.low, w.low, x.all);
        sums.high = _mm256_dpbusd_avx_epi32(sums.high, w.high, x.all);
    }

    using Halves256::fence;
    static void fence(Inputs& x) { __asm__ volatile("" : "+x"(x.all)); }
};
