// Layers whose inputs stay real (or shrink to a sign): binary, codebook and sparse, seen from outside: check the bytes,
// bring the inputs into the form that the kernel wants, share out the work.
#include <atomic>
#include <cstring>

#include "ranges.h"

namespace qk {
namespace {

constexpr int64_t kWorthAThread = 1 << 19;  // multiply-adds
constexpr int32_t kMost = 1 << 24;

bool open_sparse(const void* bytes, int64_t size, Sparse& out) {
    qk_sparse_header head;
    if (!bytes || size < int64_t(sizeof head) || reinterpret_cast<uintptr_t>(bytes) % 4) return false;
    std::memcpy(&head, bytes, sizeof head);
    if (head.magic != QK_SPARSE || head.outputs < 1 || head.inputs < 1 || head.count < 0 || head.outputs > kMost || head.inputs > kMost)
        return false;
    if (size - int64_t(sizeof head) != 4 * (2 * int64_t(head.outputs) + 1 + 2 * int64_t(head.count))) return false;
    const char* at = static_cast<const char*>(bytes) + sizeof head;
    const auto* i32 = reinterpret_cast<const int32_t*>(at) + head.outputs;
    out = {head.outputs, head.inputs, head.count, reinterpret_cast<const float*>(at),
           reinterpret_cast<const float*>(at) + 2 * int64_t(head.outputs) + 1 + head.count, i32, i32 + head.outputs + 1};
    return rows_follow(out.start, head.outputs, head.count);
}

bool open_relative_sparse(const void* bytes, int64_t size, RelativeSparse& out) {
    qk_relative_sparse_header head;
    if (!bytes || size < int64_t(sizeof head) || reinterpret_cast<uintptr_t>(bytes) % 4) return false;
    std::memcpy(&head, bytes, sizeof head);
    if (head.magic != QK_RELATIVE_SPARSE || head.outputs < 1 || head.inputs < 1 || head.count < 0 || head.outputs > kMost || head.inputs > kMost)
        return false;
    if (size - int64_t(sizeof head) != 4 * (256 + 2 * int64_t(head.outputs) + 1) + 2 * int64_t(head.count)) return false;
    const auto* codebook = reinterpret_cast<const float*>(static_cast<const char*>(bytes) + sizeof head);
    const auto* start = reinterpret_cast<const int32_t*>(codebook + 256 + head.outputs);
    const auto* gap = reinterpret_cast<const uint8_t*>(start + head.outputs + 1);
    out = {head.outputs, head.inputs, head.count, codebook, codebook + 256, start, gap, gap + head.count};
    return codebook[0] == 0 && rows_follow(start, head.outputs, head.count);
}

// How many rows of a batch a sparse kernel takes at once: 64 or 32, if most of them exist and their columns (every weight touches one of
// them, anywhere) leave half of a second cache of 1 MB to the weights.
int columns_for(int64_t rows, int64_t k) {
    constexpr int64_t kColumnBytes = 1 << 19;
    if (rows > 48 && kernels().sparse_rows == 64 && k * 64 * 4 <= kColumnBytes) return 64;
    return rows > 16 ? 32 : 16;
}

// Shares out the work of a sparse layer: 64, 32 or 16 rows of the batch at a time, then the last few one by one. one_row and batch
// return false if the layer leads outside its inputs.
template <class L, class Row, class Batch>
int run_sparse(const L& layer, const float* x, int64_t rows, float* out, int threads, Row one_row, Batch batch) {
    const int64_t k = layer.inputs, n = layer.outputs;
    if (!kernels().finite(x, rows * k)) return QK_NOT_FINITE;
    constexpr int32_t band = 64;  // outputs of one task
    const int64_t bands = (n + band - 1) / band;
    threads = worth(threads, rows * layer.count, kWorthAThread);
    const auto end_of = [&](int64_t task) { return int32_t((task + 1) * band < n ? (task + 1) * band : n); };
    std::atomic<bool> inside{true};
    const auto note = [&](bool fits) {
        if (!fits) inside.store(false, std::memory_order_relaxed);
    };
    int64_t row = 0;
    for (int64_t many; rows - row >= 8; row += many) {
        const int wide = columns_for(rows - row, k);
        many = rows - row < wide ? rows - row : wide;
        auto* columns = static_cast<float*>(scratch(kRowCodes, k * wide * 4));
        if (!columns) return QK_NO_MEMORY;
        kernels().to_columns(x + row * k, many, k, wide, columns);
        parallel_for(bands, threads, [&](int64_t task) {
            note(batch(columns, wide, int(many), int32_t(task * band), end_of(task), out + row * n));
        });
    }
    for (; row < rows; ++row)
        parallel_for(bands, threads, [&](int64_t task) { note(one_row(x + row * k, int32_t(task * band), end_of(task), out + row * n)); });
    return inside ? QK_OK : QK_BAD_LAYER;
}

}  // namespace

bool rows_follow(const int32_t* start, int32_t rows, int32_t count) {
    for (int32_t row = 0; row < rows; ++row)
        if (start[row] > start[row + 1]) return false;
    return start[0] >= 0 && start[rows] <= count;
}

bool open_table(const void* bytes, int64_t size, Table& out) {
    qk_table_header head;
    if (!bytes || size < int64_t(sizeof head) || reinterpret_cast<uintptr_t>(bytes) % 4) return false;
    std::memcpy(&head, bytes, sizeof head);
    const bool signs = head.bits == 1 || head.bits == 2;
    if (head.magic != QK_TABLE || head.outputs < 1 || head.inputs < 1 || head.taps < 1 || head.outputs > kMost || head.inputs > kMost ||
        head.taps > kMost / head.inputs || (!signs && (head.taps != 1 || (head.bits != 4 && head.bits != 5))))
        return false;
    const int32_t each = signs ? 32 : 32 / head.bits, words = head.taps * ((head.inputs + each - 1) / each);
    const int32_t blocks = (head.outputs + 15) / 16;
    const bool ternary = head.bits == 2;
    const int64_t block_bytes = int64_t(words) * 64 * (ternary ? 2 : 1), reals = ternary ? 48 : 32;
    if (size - int64_t(sizeof head) != blocks * (4 * reals + block_bytes)) return false;
    const char* at = static_cast<const char*>(bytes);
    const auto* scale = reinterpret_cast<const float*>(at + sizeof head);
    out = {head.outputs, head.inputs, head.taps, head.bits, words, blocks, block_bytes, reinterpret_cast<const float*>(at + 64), scale,
           scale + blocks * 16, ternary ? scale + blocks * 32 : nullptr, reinterpret_cast<const int8_t*>(scale + blocks * reals)};
    return true;
}

}  // namespace qk

using namespace qk;

int qk_table(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    Table layer;
    if (!open_table(bytes, size, layer)) return QK_BAD_LAYER;
    if (rows < 0 || k != layer.inputs || n != layer.outputs || layer.taps != 1) return QK_BAD_SHAPE;
    if (!rows) return QK_OK;
    const bool signs = layer.bits <= 2;
    const int64_t row_words = signs ? layer.words : int64_t(layer.words) * (32 / layer.bits);
    auto* prepared = static_cast<uint32_t*>(scratch(kRowCodes, rows * row_words * 4));
    if (!prepared) return QK_NO_MEMORY;
    threads = worth(threads, rows * n * k / (signs ? 8 : 1), kWorthAThread);
    constexpr int64_t band = 16;  // rows of one task
    std::atomic<bool> finite{true};
    parallel_for((rows + band - 1) / band, threads, [&](int64_t task) {
        const int64_t first = task * band, many = rows - first < band ? rows - first : band;
        const float* from = x + first * k;
        uint32_t* to = prepared + first * row_words;
        if (signs ? !kernels().signs_of_rows(from, many, k, to) : !kernels().finite(from, many * k)) finite.store(false, std::memory_order_relaxed);
        for (int64_t row = 0; row < many && !signs; ++row, from += k, to += row_words)
            std::memcpy(to, from, size_t(k) * 4), std::memset(to + k, 0, size_t(row_words - k) * 4);
    });
    if (!finite) return QK_NOT_FINITE;
    const auto part = [&](Range range) {
        if (signs) return kernels().binary(layer, prepared, range, out);
        kernels().codebook(layer, reinterpret_cast<float*>(prepared), range, out);
        return true;
    };
    return over_ranges(rows, layer.blocks, threads, part, signs ? wide_tasks(layer.blocks, threads, 16) : TaskSize{}) ? QK_OK : QK_NO_MEMORY;
}

int qk_sparse(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    Sparse layer;
    if (!open_sparse(bytes, size, layer)) return QK_BAD_LAYER;
    if (rows < 0 || k != layer.inputs || n != layer.outputs) return QK_BAD_SHAPE;
    return run_sparse(layer, x, rows, out, threads, [&](auto... part) { return kernels().sparse_row(layer, part...); },
                      [&](auto... part) { return kernels().sparse_batch(layer, part...); });
}

int qk_relative_sparse(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    RelativeSparse layer;
    if (!open_relative_sparse(bytes, size, layer)) return QK_BAD_LAYER;
    if (rows < 0 || k != layer.inputs || n != layer.outputs) return QK_BAD_SHAPE;
    return run_sparse(layer, x, rows, out, threads, [&](auto... part) { return kernels().relative_row(layer, part...); },
                      [&](auto... part) { return kernels().relative_batch(layer, part...); });
}
