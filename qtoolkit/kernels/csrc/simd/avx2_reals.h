// What the two 256-bit files share besides requantization: table look-ups, gathered inputs, counting of ones.
#pragma once
#include <immintrin.h>

struct Reals256 { __m256 low, high; };

static inline __m256i ones_of_words(__m256i bits) {  // by table for each half byte, then bytes into words
    const __m256i ones = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i half = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(ones, _mm256_and_si256(bits, half));
    const __m256i high = _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(bits, 4), half));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

static inline uint32_t negatives256(const float* x) {
    const __m256 zero = _mm256_setzero_ps();
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), zero, _CMP_LT_OQ));
    return uint32_t(low | _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + 8), zero, _CMP_LT_OQ)) << 8);
}

template <int Bits>
static inline __m256 look_up256(const float* table, __m256i words, int shift) {
    return _mm256_i32gather_ps(table, _mm256_and_si256(_mm256_srli_epi32(words, shift), _mm256_set1_epi32((1 << Bits) - 1)), 4);
}

static inline __m256 gather256(const float* x, const uint8_t* index) {
    return _mm256_i32gather_ps(x, _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(index))), 4);
}
