// Portable: the kernels of kernels.inl for one instruction set; CMakeLists.txt holds the compiler flags.
#include "kernels.h"

namespace {
#include "simd/scalar.h"
#include "simd/no_tiles.h"
}
#include "kernels.inl"

const qk::Kernels qk::scalar_kernels = table("scalar");
