// AVX2: the kernels of kernels.inl for one instruction set; CMakeLists.txt holds the compiler flags.
#include "kernels.h"
#include <immintrin.h>

namespace {
#include "simd/avx2.h"
#include "simd/no_tiles.h"
}
#include "kernels.inl"

const qk::Kernels qk::avx2_kernels = table("avx2");
