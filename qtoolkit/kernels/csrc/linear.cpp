// A linear layer from the outside: check the bytes, share out the work (ranges.h), hand it to the chosen instruction set. Jobs below
// about 4 microseconds stay on the calling thread.
#include <atomic>
#include <cstring>

#include "ranges.h"

namespace qk {
namespace {

constexpr int32_t kMostInputs = 1 << 24, kMostOutputs = 1 << 24, kMostTiledInputs = 1 << 18;  // the last: 2^16 fours
constexpr int64_t kRowsAtOnce = 480, kWorthAThread = 1 << 20, kWorthAThreadInTiles = 1 << 22;  // the latter in multiply-adds

int64_t at_least_one(int64_t x) { return x < 1 ? 1 : x; }

int threads_for(const Layer& layer, int64_t rows, int threads) {
    return worth(threads, rows * layer.outputs * layer.inputs, kernels().matrix_unit ? kWorthAThreadInTiles : kWorthAThread);
}

// compute(range) for all outputs of `rows` rows
template <class F>
int share_out(const Layer& layer, int64_t rows, int threads, F&& compute) {
    threads = threads_for(layer, rows, threads);
    return over_ranges(rows, layer.blocks, threads, compute, wide_tasks(layer.blocks, threads)) ? QK_OK : QK_NO_MEMORY;
}

// What every int8 layer begins with. `arrays` receives the number of bytes up to the weights.
bool open_start(const void* bytes, int64_t size, int32_t magic, Layer& out, qk_header& head, int64_t& arrays) {
    if (!bytes || size < int64_t(sizeof head) || reinterpret_cast<uintptr_t>(bytes) % 4) return false;
    std::memcpy(&head, bytes, sizeof head);
    if (head.magic != magic || head.outputs < 1 || head.inputs < 1 || head.taps < 1 || head.outputs > kMostOutputs ||
        head.inputs > kMostInputs || head.taps > 4096)
        return false;
    const auto is_code = [](int32_t q) { return q >= -128 && q <= 127; };
    if (!is_code(head.input_zero) || !is_code(head.zero) || !is_code(head.lowest) || !is_code(head.highest) || head.lowest > head.highest) return false;
    const int64_t blocks = (int64_t(head.outputs) + 15) / 16, padded = blocks * 16;
    arrays = int64_t(sizeof head) + 6 * 4 * padded;
    if (size < arrays) return false;
    const char* at = static_cast<const char*>(bytes) + sizeof head;
    const auto* i32 = reinterpret_cast<const int32_t*>(at);
    const auto* f32 = reinterpret_cast<const float*>(at);
    out = {head.outputs, head.inputs, head.taps, head.zero, head.lowest, head.highest, head.input_zero, int32_t(blocks), 0,
           i32, i32 + padded, i32 + 2 * padded, i32 + 3 * padded, f32 + 4 * padded, f32 + 5 * padded,
           reinterpret_cast<const int8_t*>(at) + 6 * 4 * padded};
    return true;
}

bool open_tile_sparse(const void* bytes, int64_t size, TileSparse& out) {
    qk_header head;
    int64_t arrays;
    if (!open_start(bytes, size, QK_TILE_SPARSE, out.layer, head, arrays)) return false;
    if (head.taps != 1 || head.inputs > kMostTiledInputs || head.tiles < 0) return false;
    if (size - arrays != int64_t(head.tiles) * (64 + 2) + 4 * (int64_t(out.layer.blocks) + 1)) return false;
    out.start = reinterpret_cast<const int32_t*>(out.layer.weight + int64_t(head.tiles) * 64);
    out.index = reinterpret_cast<const uint16_t*>(out.start + out.layer.blocks + 1);
    return out.start[0] == 0 && out.start[out.layer.blocks] == head.tiles && rows_follow(out.start, out.layer.blocks, head.tiles);
}

}  // namespace

bool open_layer(const void* bytes, int64_t size, Layer& out) {
    qk_header head;
    int64_t arrays;
    if (!open_start(bytes, size, QK_LAYER, out, head, arrays)) return false;
    out.block_bytes = (int64_t(head.inputs) + 3) / 4 * 64 * head.taps;
    return size - arrays == out.blocks * out.block_bytes;
}

int run_linear_int8(const Layer& layer, const int8_t* x, int64_t rows, int8_t* out, int threads) {
    return share_out(layer, rows, threads, [&](Range range) { return kernels().linear_int8(layer, x, range, out); });
}

int run_linear_float(const Layer& layer, const int8_t* x, const float* row_scale, int64_t rows, float* out, int threads) {
    return share_out(layer, rows, threads, [&](Range range) { return kernels().linear_float(layer, x, row_scale, range, out); });
}

static int bad_shape(const Layer& layer, int64_t rows, int64_t k, int64_t n) {
    return rows < 0 || k != layer.inputs || n != layer.outputs ? QK_BAD_SHAPE : QK_OK;
}

static int check(const void* bytes, int64_t size, int64_t rows, int64_t k, int64_t n, Layer& layer) {
    if (!open_layer(bytes, size, layer) || layer.taps != 1) return QK_BAD_LAYER;
    return bad_shape(layer, rows, k, n);
}

}  // namespace qk

using namespace qk;

int qk_quantize(const float* x, int64_t count, float scale, int32_t zero, int8_t* out, int threads) {
    constexpr int64_t piece = 1 << 16;
    if (!(scale > 0) || zero < -128 || zero > 127) return QK_BAD_SHAPE;
    std::atomic<bool> finite{true};
    parallel_for((count + piece - 1) / piece, threads, [&](int64_t task) {
        const int64_t from = task * piece, many = count - from < piece ? count - from : piece;
        if (!kernels().quantize(x + from, many, scale, zero, out + from)) finite = false;
    });
    return finite ? QK_OK : QK_NOT_FINITE;
}

int qk_linear_int8(const void* bytes, int64_t size, const int8_t* x, int64_t rows, int64_t k, int8_t* out, int64_t n,
                   int threads) {
    Layer layer;
    const int wrong = check(bytes, size, rows, k, n, layer);
    return wrong || !rows ? wrong : run_linear_int8(layer, x, rows, out, threads);
}

int qk_linear_float(const void* bytes, int64_t size, const int8_t* x, int64_t rows, int64_t k, float* out, int64_t n,
                    int threads) {
    Layer layer;
    const int wrong = check(bytes, size, rows, k, n, layer);
    return wrong || !rows ? wrong : run_linear_float(layer, x, nullptr, rows, out, threads);
}

int qk_linear_dynamic(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n,
                      int threads) {
    Layer layer;
    const int wrong = check(bytes, size, rows, k, n, layer);
    if (wrong || !rows) return wrong;
    auto* scales = static_cast<float*>(scratch(kRowScales, rows * 4));
    auto* codes = static_cast<int8_t*>(scratch(kRowCodes, rows * k));
    if (!scales || !codes) return QK_NO_MEMORY;
    std::atomic<bool> finite{true};
    const int64_t band = at_least_one((1 << 16) / k);
    parallel_for((rows + band - 1) / band, threads, [&](int64_t task) {
        for (int64_t row = task * band; row < rows && row < (task + 1) * band; ++row)
            if (!kernels().quantize_row(x + row * k, k, scales + row, codes + row * k)) finite = false;
    });
    return finite ? run_linear_float(layer, codes, scales, rows, out, threads) : QK_NOT_FINITE;
}

int qk_tile_sparse(const void* bytes, int64_t size, const int8_t* x, int64_t rows, int64_t k, int8_t* out, int64_t n, int threads) {
    TileSparse sparse;
    if (!open_tile_sparse(bytes, size, sparse)) return QK_BAD_LAYER;
    if (const int wrong = bad_shape(sparse.layer, rows, k, n)) return wrong;
    const int64_t each = int64_t(sparse.start[sparse.layer.blocks]) * 64;  // multiply-adds of a row
    for (int64_t row = 0, many; row < rows; row += many) {
        many = rows - row < kRowsAtOnce ? rows - row : kRowsAtOnce;
        // once for all tasks, which have too little to do each to repeat it
        const int8_t* prepared = kernels().prepare(x + row * k, many, int(k), int(k + 3) / 4 * 4);
        if (!prepared) return QK_NO_MEMORY;
        const auto compute = [&](Range range) { return kernels().tile_sparse_int8(sparse, prepared, range, out + row * n); };
        const int helpers = worth(threads, many * each, kWorthAThread);
        // A few rows through all lists at a time, as long as that makes enough tasks: the inputs stay near, and the lists are short.
        const TaskSize size = many < 24 * helpers ? TaskSize{} : TaskSize{24, sparse.layer.blocks};
        if (!over_ranges(many, sparse.layer.blocks, helpers, compute, size)) return QK_BAD_LAYER;
    }
    return QK_OK;
}
