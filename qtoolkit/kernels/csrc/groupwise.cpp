// A layer of few-bit weights from the outside: check the bytes, quantize the rows and sum their groups, share out the work.
#include <atomic>
#include <cstring>

#include "ranges.h"

namespace qk {
namespace {

constexpr int64_t kWorthAThread = 1 << 20;  // multiply-adds

bool open_groupwise(const void* bytes, int64_t size, Groupwise& out) {
    qk_groupwise_header head;
    if (!bytes || size < int64_t(sizeof head) || reinterpret_cast<uintptr_t>(bytes) % 4) return false;
    std::memcpy(&head, bytes, sizeof head);
    if (head.magic != QK_GROUPWISE || head.outputs < 1 || head.inputs < 1 || head.outputs > 1 << 24 || head.inputs > 1 << 24 ||
        (head.bits != 4 && head.bits != 2) || head.group < 1 || head.group > 1 << 20 || head.group % (32 / head.bits))
        return false;
    const int64_t blocks = (int64_t(head.outputs) + 15) / 16, groups = (int64_t(head.inputs) + head.group - 1) / head.group;
    const int64_t block_bytes = groups * (64 + int64_t(2) * head.bits * head.group);
    if (size - int64_t(sizeof head) - 64 * blocks != blocks * block_bytes) return false;
    const char* at = static_cast<const char*>(bytes) + sizeof head;
    out = {head.outputs, head.inputs, head.bits, head.group, int32_t(groups), int32_t(blocks), block_bytes,
           reinterpret_cast<const float*>(at), reinterpret_cast<const int8_t*>(at + 64 * blocks)};
    return true;
}

bool prepare_row(const Groupwise& layer, const float* x, float* scale, int8_t* codes, int32_t* sums) {
    const int64_t padded = int64_t(layer.groups) * layer.group;
    const bool finite = kernels().quantize_row(x, layer.inputs, scale, codes);
    std::memset(codes + layer.inputs, 0, size_t(padded - layer.inputs));
    for (int g = 0; g < layer.groups; ++g) {
        int32_t sum = 0;
        for (int k = 0; k < layer.group; ++k) sum += codes[int64_t(g) * layer.group + k];
        sums[g] = sum;
    }
    return finite;
}

}  // namespace
}  // namespace qk

using namespace qk;

int qk_groupwise(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    Groupwise layer;
    if (!open_groupwise(bytes, size, layer)) return QK_BAD_LAYER;
    if (rows < 0 || k != layer.inputs || n != layer.outputs) return QK_BAD_SHAPE;
    if (!rows) return QK_OK;
    const int64_t padded = int64_t(layer.groups) * layer.group;
    auto* scales = static_cast<float*>(scratch(kRowScales, rows * 4));
    auto* codes = static_cast<int8_t*>(scratch(kRowCodes, rows * padded));
    auto* sums = static_cast<int32_t*>(scratch(kRowSums, rows * layer.groups * 4));
    if (!scales || !codes || !sums) return QK_NO_MEMORY;
    threads = worth(threads, rows * n * k, kWorthAThread);
    std::atomic<bool> finite{true};
    parallel_for(rows, rows > 16 ? threads : 1, [&](int64_t row) {
        if (!prepare_row(layer, x + row * k, scales + row, codes + row * padded, sums + row * layer.groups)) finite = false;
    });
    if (!finite) return QK_NOT_FINITE;
    over_ranges(rows, layer.blocks, threads, [&](Range range) {
        kernels().groupwise(layer, codes, sums, scales, range, out);
        return true;
    });
    return QK_OK;
}
