// What the portable files and the per-instruction-set files share: a checked view of a layer, and the table of functions
// that every instruction set fills in. Only plain data crosses this border: an inline function shared by two files that are
// compiled with different flags would be merged by the linker, and the AVX-512 copy might win on a machine without it.
#pragma once
#include "qk.h"
#include "scratch.h"

namespace qk {

struct Layer {  // pointers into the bytes of a layer whose sizes have been checked
    int32_t outputs, inputs, taps;
    int32_t zero, lowest, highest, input_zero;
    int32_t blocks;        // of 16 outputs
    int64_t block_bytes;   // of packed weight
    const int32_t *bias, *column_sum, *multiplier, *shift;
    const float *scale, *real_bias;
    const int8_t* weight;
};

struct Conv {
    int32_t height, width, out_height, out_width;
    int32_t kernel[2], stride[2], padding[2], dilation[2];
    int32_t groups;
};

struct Groupwise {  // the same for weights of few bits; see groupwise.h
    int32_t outputs, inputs, bits, group, groups, blocks;
    int64_t block_bytes;
    const float* bias;
    const int8_t* weight;
};

struct Table {  // for binary.h (1 or 2 bits) and codebook.h (4 or 5 bits): 32-bit words, 16 outputs side by side
    int32_t outputs, inputs, taps, bits, words, blocks;  // words that hold one output's weights (one plane of them)
    int64_t block_bytes;
    const float *entries, *scale, *bias, *kept;    // the 32 table entries; scale of binary layers; ternary: weights that are not 0
    const int8_t* weight;
};

struct Sparse {
    int32_t outputs, inputs;
    int32_t window, windows, block, blocks;  // a tile: `window` outputs x `block` inputs; how many there are of them
    const float *bias, *value;
    const int32_t* start;  // of each tile, [windows][blocks] and the end; has been checked: from 0 on, never falling
    const uint8_t *height, *order, *index;  // of tiles (sparse.h); have not been checked
};

struct RelativeSparse {  // the same weights in 2 bytes each; see relative_sparse.h
    int32_t outputs, inputs, count;
    const float *codebook, *bias;  // 256 shared values, the first of them 0
    const int32_t* start;          // has been checked: 0..count, never falling
    const uint8_t *gap, *code;     // gap has not been checked
};

struct TileSparse {  // see tile_sparse.h
    Layer layer;               // its `weight` are the stored tiles alone; no block_bytes
    const int32_t* start;      // has been checked: 0..tiles, never falling
    const uint16_t* index;     // has not been checked
};

struct HuffmanLanes {  // a stream of lanes of 4096 symbols; see huffman_lanes.h
    static constexpr int64_t kSymbols = 4096;
    const uint8_t* body;
    int64_t bytes;
    const uint32_t *quick, *full;  // for a window of `quick_bits` or `full_bits` bits: symbol << 16 | length, 0 for a longer codeword
    int quick_bits, full_bits;     // at most 12, at most 15
    const int64_t* from;           // the byte where each lane starts, and the end; has been checked
    int64_t count;                 // symbols
};

struct Range {  // the part of the output that one task computes
    int64_t row0, row1;
    int32_t block0, block1;
};

struct Kernels {
    const char* name;
    bool matrix_unit;  // tasks should have many blocks: their rows are copied into tiles first
    bool (*linear_int8)(const Layer&, const int8_t* x, Range, int8_t* out);
    const int8_t* (*prepare)(const int8_t* x, int64_t rows, int k, int k4);  // inputs as the tile wants them; null: no memory
    bool (*tile_sparse_int8)(const TileSparse&, const int8_t* prepared, Range, int8_t* out);  // false: indices lead outside
    bool (*linear_float)(const Layer&, const int8_t* x, const float* row_scale, Range, float* out);  // false: no memory
    void (*prepare_image)(const int8_t* x, int64_t first, int64_t last, int64_t pixels, int64_t pitch, int k, int padded, int32_t zero, int8_t* image);
    bool (*conv_int8)(const Layer&, const Conv&, const int8_t* image, Range, int64_t pitch, int8_t* out);      // false: no memory
    bool (*conv_patches)(const Layer&, const Conv&, const int8_t* image, Range, int64_t pitch, int8_t* out);
    bool (*depthwise_int8)(const Layer&, const Conv&, const int8_t* image, Range, int64_t pitch, int8_t* out);
    void (*max_pool)(const int8_t* x, const Conv&, int channels, int8_t* out);
    bool (*quantize)(const float* x, int64_t count, float scale, int32_t zero, int8_t* out);  // false: not finite
    bool (*quantize_row)(const float* x, int64_t count, float* scale, int8_t* out);           // false: not finite
    void (*groupwise)(const Groupwise&, const int8_t* x, const int32_t* input_sums, const float* row_scale, Range, float* out);
    bool (*finite)(const float* x, int64_t count);
    bool (*signs_of_rows)(const float* x, int64_t rows, int64_t k, uint32_t* words);  // false: not finite
    bool (*binary)(const Table&, const uint32_t* x, Range, float* out);  // false: no memory
    void (*codebook)(const Table&, const float* x, Range, float* out);
    int sparse_rows;  // the most rows of a batch that the sparse kernels take at once: 32 or 64
    void (*to_columns)(const float* x, int64_t rows, int64_t pitch, int64_t k, int64_t wide, float* columns);
    bool (*sparse_row)(const Sparse&, const float* x, int32_t window0, int32_t window1, float* out);  // false: a tile is damaged
    int (*sparse_batch)(const Sparse&, const float* x, int wide, int rows, int32_t window0, int32_t window1, float* out);  // qk_status
    bool (*relative_row)(const RelativeSparse&, const float* x, int32_t output0, int32_t output1, float* out);  // false: gaps lead outside
    bool (*relative_batch)(const RelativeSparse&, const float* columns, int wide, int rows, int32_t output0, int32_t output1, float* out);
    bool (*huffman_lanes)(const HuffmanLanes&, int64_t first, int64_t last, int16_t* out);  // false: a lane does not end where it should
    double (*peak_int8)(int64_t rounds);   // these four serve qk_limit
    double (*peak_float)(int64_t rounds);
    double (*peak_signs)(int64_t rounds);
    uint64_t (*read_all)(const uint64_t* at, int64_t count);
};

extern const Kernels scalar_kernels, tiles_kernels, avx2_kernels, avxvnni_kernels, avx512vnni_kernels, avx512_kernels, amx_kernels, neon_kernels;
const Kernels& kernels();  // the table in use

bool rows_follow(const int32_t* start, int32_t rows, int32_t count);  // each row begins where the one before ends, or later
bool open_table(const void* bytes, int64_t size, Table& out);
constexpr int32_t kMostPixels = 1 << 20;  // along an axis
bool fits(const Conv&);  // sizes in range, output size as they demand
bool find_output_size(Conv&);  // from the other numbers; false if they do not fit
bool open_layer(const void* bytes, int64_t size, Layer& out);
int run_linear_int8(const Layer&, const int8_t* x, int64_t rows, int8_t* out, int threads);
int run_linear_float(const Layer&, const int8_t* x, const float* row_scale, int64_t rows, float* out, int threads);

}  // namespace qk
