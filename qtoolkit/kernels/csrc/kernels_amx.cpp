// AVX-512 with a matrix unit, AMX.
// The kernels of kernels.inl for one instruction set; CMakeLists.txt holds the compiler flags.
#include "kernels.h"
#include <immintrin.h>

namespace {
#include "simd/avx512vnni.h"
#include "simd/amx.h"
}
#include "kernels.inl"

const qk::Kernels qk::amx_kernels = table("amx");
