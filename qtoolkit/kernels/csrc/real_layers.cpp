// Layers whose inputs stay real (or shrink to a sign): binary, codebook and sparse, seen from outside: check the bytes,
// bring the inputs into the form that the kernel wants, share out the work.
#include <algorithm>
#include <atomic>
#include <cstring>
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "ranges.h"

namespace qk {
namespace {

constexpr int64_t kWorthAThread = 1 << 19;  // multiply-adds
constexpr int32_t kMost = 1 << 24;

// `all` outputs or inputs of a sparse layer shared out among as few parts as possible: the size of a part, and how many there are.
void cut(int32_t all, int32_t most, int32_t& each, int32_t& parts) {
    parts = (all + most - 1) / most;
    each = ((all + parts - 1) / parts + 15) / 16 * 16;
}

bool open_sparse(const void* bytes, int64_t size, Sparse& out) {
    qk_sparse_header head;
    if (!bytes || size < int64_t(sizeof head) || reinterpret_cast<uintptr_t>(bytes) % 4) return false;
    std::memcpy(&head, bytes, sizeof head);
    if (head.magic != QK_SPARSE || head.outputs < 1 || head.inputs < 1 || head.count < 0 || head.outputs > kMost || head.inputs > kMost)
        return false;
    out.outputs = head.outputs, out.inputs = head.inputs;
    cut(head.outputs, 256, out.window, out.windows), cut(head.inputs, 128, out.block, out.blocks);
    const int64_t tiles = int64_t(out.windows) * out.blocks, rows = int64_t(out.windows) * out.window, slices = tiles * (out.window / 16);
    if (size - int64_t(sizeof head) != 4 * (rows + tiles + 1 + head.count) + 17 * slices + head.count) return false;
    out.bias = reinterpret_cast<const float*>(static_cast<const char*>(bytes) + sizeof head);
    out.start = reinterpret_cast<const int32_t*>(out.bias + rows);
    out.value = out.bias + rows + tiles + 1;
    out.height = reinterpret_cast<const uint8_t*>(out.value + head.count);
    out.order = out.height + slices, out.index = out.order + 16 * slices;
    return tiles <= INT32_MAX && rows_follow(out.start, int32_t(tiles), head.count);
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

// The most rows of a batch that a sparse layer takes at once, 64 or 32: as many as leave room beside their inputs, of which every
// weight touches some, in half of a second cache of 1 MB, or in the first one.
bool fits_second_cache(int64_t inputs) { return inputs * 64 * 4 <= 1 << 19; }
bool fits_first_cache(int64_t inputs) {
#ifdef _SC_LEVEL1_DCACHE_SIZE
    static const int64_t bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    return inputs * 64 * 4 < bytes;
#else
    return false;
#endif
}
int wide_enough(int64_t rows, bool many_fit) {
    return rows > 48 && kernels().sparse_rows == 64 && many_fit ? 64 : rows > 16 ? 32 : 16;
}

// Shares out the rows of a batch: batch(first, count, wide) for up to 64 at a time while there are 8 or more, then one_row(row). Both
// return a qk_status.
template <class Row, class Batch>
int each_rows(int64_t rows, bool many_fit, Row one_row, Batch batch) {
    int64_t row = 0;
    int status = QK_OK;
    for (int64_t many; rows - row >= 8 && !status; row += many) {
        const int wide = wide_enough(rows - row, many_fit);
        many = std::min<int64_t>(rows - row, wide);
        status = batch(row, many, wide);
    }
    for (; row < rows && !status; ++row) status = one_row(row);
    return status;
}

// task(first, last) for parts of `all`, `each` at a time; the last status that was not QK_OK.
template <class F>
int share_out(int64_t all, int64_t each, int threads, F task) {
    std::atomic<int> status{QK_OK};
    parallel_for((all + each - 1) / each, threads, [&](int64_t t) {
        if (const int wrong = task(int32_t(t * each), int32_t(std::min(all, (t + 1) * each)))) status.store(wrong, std::memory_order_relaxed);
    });
    return status;
}

// Tasks of a layer of signs. On a matrix unit (sign_tiles.h) a band of 32 rows spreads all weights it meets, but tasks side by side would
// each spread the inputs again: so bands first, and panels only if there are too few of them.
TaskSize sign_tasks(int64_t rows, int32_t blocks, int threads) {
    if (!kernels().matrix_unit) return {TaskSize{}.rows, 16};
    const int64_t bands = (rows + 31) / 32, panels = (2 * threads + bands - 1) / bands;
    return {32, std::max<int64_t>(16, (blocks + panels - 1) / panels)};
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
    return over_ranges(rows, layer.blocks, threads, part, signs ? sign_tasks(rows, layer.blocks, threads) : TaskSize{}) ? QK_OK : QK_NO_MEMORY;
}

int qk_sparse(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    Sparse layer;
    if (!open_sparse(bytes, size, layer)) return QK_BAD_LAYER;
    if (rows < 0 || k != layer.inputs || n != layer.outputs) return QK_BAD_SHAPE;
    threads = worth(threads, rows * layer.start[int64_t(layer.windows) * layer.blocks], kWorthAThread);
    // Each task of a batch turns the inputs anew, so it has several windows; so few that their sums stay in the second cache.
    const int64_t windows = std::clamp<int64_t>((layer.windows + threads - 1) / threads, 1, 4);
    return each_rows(rows, fits_first_cache(layer.block), [&](int64_t row) -> int {
        if (!kernels().finite(x + row * k, k)) return QK_NOT_FINITE;
        return share_out(layer.windows, threads == 1 ? layer.windows : 1, threads, [&](int32_t from, int32_t to) {
            return kernels().sparse_row(layer, x + row * k, from, to, out + row * n) ? QK_OK : QK_BAD_LAYER;
        });
    }, [&](int64_t row, int64_t many, int wide) {
        return share_out(layer.windows, windows, threads, [&](int32_t from, int32_t to) {
            return kernels().sparse_batch(layer, x + row * k, wide, int(many), from, to, out + row * n);
        });
    });
}

int qk_relative_sparse(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    RelativeSparse layer;
    if (!open_relative_sparse(bytes, size, layer)) return QK_BAD_LAYER;
    if (rows < 0 || k != layer.inputs || n != layer.outputs) return QK_BAD_SHAPE;
    if (!kernels().finite(x, rows * k)) return QK_NOT_FINITE;
    threads = worth(threads, rows * layer.count, kWorthAThread);
    constexpr int64_t kOutputs = 64;  // of one task
    return each_rows(rows, fits_second_cache(k), [&](int64_t row) {
        return share_out(n, kOutputs, threads, [&](int32_t from, int32_t to) {
            return kernels().relative_row(layer, x + row * k, from, to, out + row * n) ? QK_OK : QK_BAD_LAYER;
        });
    }, [&](int64_t row, int64_t many, int wide) -> int {
        auto* columns = static_cast<float*>(scratch(kRowCodes, k * wide * 4));
        if (!columns) return QK_NO_MEMORY;
        kernels().to_columns(x + row * k, many, k, k, wide, columns);
        return share_out(n, kOutputs, threads, [&](int32_t from, int32_t to) {
            return kernels().relative_batch(layer, columns, wide, int(many), from, to, out + row * n) ? QK_OK : QK_BAD_LAYER;
        });
    });
}
