// The requantization that the two 256-bit files share; two registers for 16 outputs, even and odd ones apart.
//
// AVX2 has no arithmetic shift of 64-bit lanes: adding 2^63 first (flipping the sign bit), shifting zeros in, and taking
// 2^63 >> shift away gives the same. Nor has it a 64-bit minimum; compare and blend do.
#pragma once
#include <immintrin.h>

class Requantize256 {
  public:
    Requantize256(const int32_t* multiplier, const int32_t* shift, const qk::Layer& layer)
        : first_(multiplier, shift), second_(multiplier + 8, shift + 8), lowest_(_mm256_set1_epi64x(layer.lowest - layer.zero)),
          highest_(_mm256_set1_epi64x(layer.highest - layer.zero)), zero_(_mm256_set1_epi32(layer.zero)) {}

    void operator()(const int32_t* sums, int8_t* out) const {
        const __m256i a = codes(first_, sums), b = codes(second_, sums + 8);
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    }

  private:
    struct Four {
        __m256i multiplier, shift, half, sign;
        Four(__m256i m, __m256i s) : multiplier(m), shift(_mm256_and_si256(s, _mm256_set1_epi64x(63))) {
            const __m256i one = _mm256_set1_epi64x(1);
            half = _mm256_sllv_epi64(one, _mm256_sub_epi64(shift, one));
            half = _mm256_xor_si256(half, _mm256_set1_epi64x(INT64_MIN));  // and 2^63 on top
            sign = _mm256_srlv_epi64(_mm256_set1_epi64x(INT64_MIN), shift);
        }
        __m256i scale(__m256i sums) const {  // (sum * multiplier + half) >> shift, for the low halves of the lanes
            const __m256i lifted = _mm256_add_epi64(_mm256_mul_epi32(sums, multiplier), half);
            return _mm256_sub_epi64(_mm256_srlv_epi64(lifted, shift), sign);
        }
    };
    struct Eight {
        Four even, odd;
        Eight(const int32_t* m, const int32_t* s)
            : even(load(m), load(s)), odd(_mm256_srli_epi64(load(m), 32), _mm256_srli_epi64(load(s), 32)) {}
    };

    static __m256i load(const int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

    __m256i clamp(__m256i q) const {
        q = _mm256_blendv_epi8(q, highest_, _mm256_cmpgt_epi64(q, highest_));
        return _mm256_blendv_epi8(q, lowest_, _mm256_cmpgt_epi64(lowest_, q));
    }
    __m256i codes(const Eight& by, const int32_t* sums) const {
        const __m256i s = load(sums), odd = clamp(by.odd.scale(_mm256_srli_epi64(s, 32)));
        return _mm256_add_epi32(_mm256_blend_epi32(clamp(by.even.scale(s)), _mm256_slli_epi64(odd, 32), 0xaa), zero_);
    }

    Eight first_, second_;
    __m256i lowest_, highest_, zero_;
};
