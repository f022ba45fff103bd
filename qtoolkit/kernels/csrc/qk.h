// The C interface of the kernels: all that Python (ctypes), torch (torch_ops.cpp) or any other language needs to know.
//
// A *layer* is one block of bytes that holds everything a call needs: sizes, biases, scales and packed weights. It is
// prepared once (qtoolkit/kernels/layer.py writes it), can be saved, and moves between machines: every instruction set
// reads the same layout. A call then passes just the layer, the input, the output and the number of rows, because at
// batch 1 the cost of passing arguments from Python rivals the arithmetic.
//
//   byte 0     qk_header, 64 bytes
//   then       six arrays of N16 entries (N16 = outputs rounded up to 16), 4 bytes each:
//              bias i32, column sum i32, multiplier i32, shift i32, scale f32, real bias f32
//   then       the weights, int8, as [N16/16][taps][K4/4][16][4]: 64 bytes hold 4 inputs of 16 outputs (K4: K rounded up
//              to 4), one AVX-512 register, two of AVX2, four of NEON. A linear layer has 1 tap, a 3x3 convolution 9.
//
// Nothing in here trusts those bytes for its safety: sizes are checked on each call, and no value can cause a bad access.
#pragma once
#include <cstdint>

#if defined(_WIN32)
#define QK_API extern "C" __declspec(dllexport)
#else
#define QK_API extern "C" __attribute__((visibility("default")))
#endif

enum : int32_t { QK_ABI = 3, QK_LAYER = 0x314C4B51 /* "QKL1" */, QK_PLAN = 0x32504B51 /* "QKP2" */,
               QK_GROUPWISE = 0x31474B51 /* "QKG1" */, QK_TABLE = 0x31544B51 /* "QKT1" */,
               QK_SPARSE = 0x32534B51 /* "QKS2" */, QK_RELATIVE_SPARSE = 0x31524B51 /* "QKR1" */,
               QK_TILE_SPARSE = 0x31424B51 /* "QKB1" */ };

struct qk_header {
    int32_t magic;            // QK_LAYER or QK_TILE_SPARSE
    int32_t outputs, inputs;  // N, and K of one tap
    int32_t taps;             // kernel height x width; 1 for a linear layer
    int32_t zero, lowest, highest;  // of the int8 output: zero point and clamp
    int32_t input_zero;       // zero point of the input: what a convolution pads with
    int32_t tiles;            // QK_TILE_SPARSE: how many tiles are stored; else 0
    int32_t reserved[7];
};

// A tile-sparse layer begins as a layer does: the same header and the same six arrays, with 1 tap. Of the weights, in the same
// order, only tiles (64 bytes: 16 outputs x 4 inputs) that are not all zero follow, int8 [tiles][16][4]; then start i32 [N16/16 + 1],
// from 0 to `tiles`: where each block's tiles begin; then index u16 [tiles]: which four inputs, increasing within a block.

struct qk_groupwise_header {
    int32_t magic;            // QK_GROUPWISE
    int32_t outputs, inputs;  // N and K
    int32_t bits, group;      // 4 or 2; inputs that share a scale, a multiple of 32 / bits
    int32_t reserved[11];
    // then bias f32 [N16]; then [N16/16][groups]( scale f32 [16], codes without sign [group / (32 / bits)][64] ), where byte
    // 4 j + i of 64 holds inputs i, 4 + i, ... of output j, the first in the lowest bits
};

struct qk_table_header {
    int32_t magic;            // QK_TABLE
    int32_t outputs, inputs;
    int32_t bits;             // 1: signs (binary); 2: signs or 0 (ternary); 4 or 5: indices into `entries`
    int32_t taps;             // kernel height x width of a convolution of signs; 1 for a linear layer
    int32_t reserved[11];
    float entries[32];        // with 4 bits, 16 entries twice
    // then scale f32 [N16], bias f32 [N16], ternary: how many weights are not 0 f32 [N16]; then 32-bit words
    // [N16/16][taps][words of a tap][16] of 32, 8 or 6 inputs each, lowest bits first; ternary: 16 words of signs, 16 of "not 0"
};

// The matrix of a sparse layer is cut into as few tiles as possible of at most 256 outputs x 128 inputs, all of one size but for those at
// the end: `window` = N shared out among ceil(N / 256) windows, rounded up to a multiple of 16, and `block` likewise of K. A tile has
// window / 16 slices of 16 outputs.
struct qk_sparse_header {
    int32_t magic;            // QK_SPARSE
    int32_t outputs, inputs, count;  // count: values stored, fillers included
    int32_t reserved[12];
    // then bias f32 [windows][window], 0 beyond N; start i32 [windows][blocks] + 1, from 0 to count: where each tile's values begin; value
    // f32 [count], of each slice [height][16]; height u8 [windows][blocks][slices]; order u8 [windows][blocks][slices][16]: which output
    // of the window; index u8 [count], as `value`: which input of the block, 0 for a filler
};

struct qk_relative_sparse_header {
    int32_t magic;            // QK_RELATIVE_SPARSE
    int32_t outputs, inputs, count;  // count: weights stored, fillers included
    int32_t reserved[12];
    // then codebook f32 [256], whose first value is 0, bias f32 [N], start i32 [N + 1], gap u8 [count] (zeros skipped before the
    // weight, counted anew in each row; longer gaps by fillers of gap 255 and code 0), code u8 [count]
};

struct qk_plan_header {
    int32_t magic;            // QK_PLAN
    int32_t stages;           // that many qk_stage follow, then the layers that they name
    int32_t zero;             // zero point of the quantized input
    float scale;              // its scale
    int32_t channels, height, width;  // of an input image; flat inputs are channels of one pixel
    int32_t reserved[9];
};

enum qk_kind : int32_t { QK_LINEAR = 0, QK_CONVOLUTION = 1, QK_MAX_POOL = 2 };

struct qk_stage {
    int64_t from, bytes;      // where its layer lies, from the start of the plan; a pooling has none
    int32_t kind;             // qk_kind
    int32_t channels;         // of a convolution's output
    int32_t kernel[2], stride[2], padding[2], dilation[2];  // of a convolution; a pooling has neither padding nor dilation
    int32_t groups;
    int32_t reserved;
};

enum qk_status : int {
    QK_OK = 0,
    QK_BAD_LAYER,      // the bytes are not a layer, or fewer than their header promises
    QK_BAD_SHAPE,      // the input or output does not have the layer's size
    QK_NOT_FINITE,     // the real input holds NaN or infinity
    QK_NO_MEMORY,
    QK_BAD_STREAM,     // entropy-coded bytes that no encoder writes, or a symbol without a codeword
};

QK_API int qk_abi(void);

// Instruction sets: the names this machine can run, best first, separated by spaces; the one in use; choose another.
QK_API const char* qk_isas(void);
QK_API const char* qk_isa(void);
QK_API int qk_use_isa(const char* name);  // 0, or 1 if the machine lacks it

// The machine's own limits, measured in about a millisecond on the calling thread with the instruction set in use:
// "int8", "float" and "signs" (one bit) in multiply-adds a second, "read" in bytes a second from a working set of `bytes`. 0 if unknown.
QK_API double qk_limit(const char* what, int64_t bytes);

// q = clamp(round_half_even(x / scale) + zero, -128, 127)
QK_API int qk_quantize(const float* x, int64_t count, float scale, int32_t zero, int8_t* out, int threads);

// x is (rows, k), out is (rows, n); k and n must equal the layer's.
// int8 to int8:   q = clamp(((sum x w + bias) * multiplier + 2^(shift-1) >> shift) + zero, lowest, highest)
QK_API int qk_linear_int8(const void* layer, int64_t bytes, const int8_t* x, int64_t rows, int64_t k, int8_t* out, int64_t n,
                          int threads);
// A convolution of int8 images: x is (images, height, width, channels), out (images, out_height, out_width, n); `geometry` is
// height, width, out_height, out_width, the pairs kernel, stride, padding, dilation (vertical first), and groups. Groups are
// as many layers one after another, each of n / groups outputs and channels / groups inputs. Depthwise (1 < groups = channels = n)
// is a single layer whose inputs are the taps: 64 bytes of its weights hold 4 taps of 16 channels.
QK_API int qk_conv_int8(const void* layer, int64_t bytes, const int8_t* x, int64_t images, int64_t channels, const int32_t* geometry,
                        int8_t* out, int64_t n, int threads);
// int8 to float:  y = (sum x w + bias) * scale + real bias
QK_API int qk_linear_float(const void* layer, int64_t bytes, const int8_t* x, int64_t rows, int64_t k, float* out, int64_t n,
                           int threads);
// float to float: each row r is quantized with its own scale s_r = max|x_r| / 127, then y = sum q w * (s_r scale) + real bias
QK_API int qk_linear_dynamic(const void* layer, int64_t bytes, const float* x, int64_t rows, int64_t k, float* out, int64_t n,
                             int threads);
// The same with weights of 4 or 2 bits and a scale for each group of inputs.
QK_API int qk_groupwise(const void* layer, int64_t bytes, const float* x, int64_t rows, int64_t k, float* out, int64_t n,
                        int threads);
// Weights of one bit (x is reduced to its signs), indices into a table of 16 or 32 reals, and sparse weights.
QK_API int qk_table(const void* layer, int64_t bytes, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads);
// Signs of images with binary or ternary weights: x and out as in qk_conv_int8, but real. The padding is 0, whose sign is +1.
QK_API int qk_table_conv(const void* layer, int64_t bytes, const float* x, int64_t images, int64_t channels, const int32_t* geometry,
                         float* out, int64_t n, int threads);
QK_API int qk_sparse(const void* layer, int64_t bytes, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads);
QK_API int qk_relative_sparse(const void* layer, int64_t bytes, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads);
// qk_linear_int8 with tile-sparse weights: the same codes as from the dense layer.
QK_API int qk_tile_sparse(const void* layer, int64_t bytes, const int8_t* x, int64_t rows, int64_t k, int8_t* out, int64_t n, int threads);
// A whole network in one call: quantize, int8 stages, and the real output of the last, a linear layer. x is (rows, k), where k =
// channels x height x width in this order; inside, the channels of a pixel lie together, and so a linear layer after images
// takes its inputs as (height, width, channels).
QK_API int qk_plan(const void* plan, int64_t bytes, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads);

// Make torch call one of these kernels directly for the operator qtoolkit::NAME (torch_ops.cpp). `torch_library` is the handle of
// the loaded libtorch_cpu. 0, or 1 if there is no such operator here or no such interface there.
QK_API int qk_torch_operator(void* torch_library, const char* name);

// Canonical Huffman codes in lanes of 4096 symbols. `lengths` has one codeword length (0 to 15) for each of `symbols` symbols.
QK_API int qk_huffman_decode(const uint8_t* stream, int64_t bytes, const uint8_t* lengths, int64_t symbols, int64_t count,
                             int16_t* out, int threads);
// `capacity` must be at least 3 bytes a lane + longest length bits a symbol + 9; `written` receives the size.
QK_API int qk_huffman_encode(const int16_t* values, int64_t count, const uint8_t* lengths, int64_t symbols, uint8_t* out,
                             int64_t capacity, int64_t* written);

// A matrix of weight codes (0 = pruned, else below 2^width; width 1 to 16) as one adaptive arithmetic stream. `squash` is the table
// of arithmetic.py. Encoding: `written` receives the size; where it is more than `capacity`, the bytes beyond were not written.
// QK_BAD_SHAPE: more than 2^24 weights, or more contexts than the format allows.
QK_API int qk_context_encode(const int32_t* codes, int64_t rows, int64_t columns, int64_t width, int64_t neighbor,
                             const int32_t* squash, uint8_t* out, int64_t capacity, int64_t* written);
QK_API int qk_context_decode(const uint8_t* stream, int64_t bytes, int64_t rows, int64_t columns, int64_t width, int64_t neighbor,
                             const int32_t* squash, int32_t* codes);
