// The requantization that the two 256-bit files share. AVX2 has no arithmetic shift of 64-bit lanes: adding 2^63 first
// (flipping the sign bit), shifting zeros in, and taking 2^63 >> shift away gives the same. Nor has it a 64-bit minimum.
#pragma once
#include <immintrin.h>

static inline __m256i clamp64(__m256i x, __m256i lowest, __m256i highest) {
    x = _mm256_blendv_epi8(x, highest, _mm256_cmpgt_epi64(x, highest));
    return _mm256_blendv_epi8(x, lowest, _mm256_cmpgt_epi64(lowest, x));
}

static inline __m256i scale4(__m256i sums, __m256i multiplier, __m256i shift) {
    const __m256i one = _mm256_set1_epi64x(1), sign = _mm256_set1_epi64x(INT64_MIN);
    const __m256i half = _mm256_sllv_epi64(one, _mm256_sub_epi64(shift, one));
    const __m256i product = _mm256_add_epi64(_mm256_mul_epi32(sums, multiplier), half);
    return _mm256_sub_epi64(_mm256_srlv_epi64(_mm256_xor_si256(product, sign), shift), _mm256_srlv_epi64(sign, shift));
}

static inline __m256i requantize8(const int32_t* sums, const int32_t* multiplier, const int32_t* shift, const qk::Layer& layer) {
    const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
    const __m256i m = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(multiplier));
    const __m256i by = _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(shift)), _mm256_set1_epi32(63));
    const __m256i lowest = _mm256_set1_epi64x(int64_t(layer.lowest) - layer.zero);
    const __m256i highest = _mm256_set1_epi64x(int64_t(layer.highest) - layer.zero);
    const __m256i even = scale4(s, m, _mm256_and_si256(by, _mm256_set1_epi64x(0xffffffff)));
    const __m256i odd = scale4(_mm256_srli_epi64(s, 32), _mm256_srli_epi64(m, 32), _mm256_srli_epi64(by, 32));
    const __m256i high = _mm256_slli_epi64(clamp64(odd, lowest, highest), 32);
    const __m256i q = _mm256_blend_epi32(clamp64(even, lowest, highest), high, 0xaa);
    return _mm256_add_epi32(q, _mm256_set1_epi32(layer.zero));
}

static inline void requantize16_avx2(const int32_t* sums, const int32_t* multiplier, const int32_t* shift,
                                     const qk::Layer& layer, int8_t* out) {
    const __m256i a = requantize8(sums, multiplier, shift, layer), b = requantize8(sums + 8, multiplier + 8, shift + 8, layer);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}
