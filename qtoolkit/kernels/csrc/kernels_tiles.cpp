// Portable, with a matrix unit in plain loops: on it, any machine can test and show what tiles.h does.
// The kernels of kernels.inl for one instruction set; CMakeLists.txt holds the compiler flags.
#include "kernels.h"

namespace {
#include "simd/scalar.h"
#include "simd/tiles_model.h"
}
#include "kernels.inl"

const qk::Kernels qk::tiles_kernels = table("tiles");
