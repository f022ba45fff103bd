// NEON: the kernels of kernels.inl for one instruction set; CMakeLists.txt holds the compiler flags.
#include "kernels.h"
#include <arm_neon.h>

namespace {
#include "simd/neon_dot.h"
#include "simd/no_tiles.h"
}
#include "kernels.inl"

const qk::Kernels qk::neon_kernels = table("neon");
