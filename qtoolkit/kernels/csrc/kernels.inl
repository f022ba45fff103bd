// Everything that is compiled once for each instruction set. The file that includes this has already included one header of
// simd/ and then defines its table. All names are local to that file (unnamed namespace, static), on purpose: see kernels.h.
namespace {
#include "gemm_tile.h"
#include "tiles.h"
#include "gemm.h"
#include "tile_sparse.h"
#include "conv.h"
#include "depthwise.h"
#include "max_pool.h"
#include "quantize.h"
#include "groupwise.h"
#include "sign_tiles.h"
#include "binary.h"
#include "codebook.h"
#include "columns.h"
#include "sparse.h"
#include "relative_sparse.h"
#include "huffman_lanes.h"
#include "limits.h"

constexpr qk::Kernels table(const char* name) {
    return {name, Tiles::kHere, linear_int8, prepare, tile_sparse_int8, linear_float, prepare_image, conv_int8, conv_patches, depthwise_int8, max_pool,
            quantize, quantize_row, groupwise, finite, signs_of_rows, binary, codebook, kSparseRows, to_columns, sparse_row, sparse_batch,
            relative_row, relative_batch, huffman_lanes, peak_int8<>, peak_float, peak_signs, read_all};
}
}  // namespace
