// AVX-512 with VNNI but without an instruction that counts ones (Cascade Lake).
// The kernels of kernels.inl for one instruction set; CMakeLists.txt holds the compiler flags.
#include "kernels.h"
#include <immintrin.h>

namespace {
#include "simd/avx512vnni.h"
#include "simd/no_tiles.h"
}
#include "kernels.inl"

const qk::Kernels qk::avx512vnni_kernels = table("avx512vnni");
