// AVX-VNNI: the kernels of kernels.inl for one instruction set; CMakeLists.txt holds the compiler flags.
#include "kernels.h"
#include <immintrin.h>

namespace {
#include "simd/avxvnni.h"
#include "simd/no_tiles.h"
}
#include "kernels.inl"

const qk::Kernels qk::avxvnni_kernels = table("avxvnni");
