// A whole integer network in one call: quantize the real input, run int8 layer after int8 layer, end in real numbers.
//
// At batch 1 a small network is all overhead: LeNet-300-100 is 266,200 multiply-adds, about a microsecond of VNNI, while a
// single call from Python costs two to four. The plan is one block of bytes (qk.h): a header, the offset of each layer, the
// layers. Several rows are shared out among threads so that each thread takes its rows through *all* layers: one
// synchronization a call instead of one a layer. A single row uses the threads inside each layer instead.
#include <atomic>
#include <cstring>

#include "kernels.h"
#include "pool.h"

namespace qk {
namespace {

constexpr int kMostLayers = 64;

struct Plan {
    int layers;
    int32_t zero;
    float scale;
    int64_t widest, work;  // the largest layer output, and multiply-adds a row
    Layer layer[kMostLayers];
};

bool open_plan(const void* bytes, int64_t size, Plan& plan) {
    qk_plan_header head;
    if (!bytes || size < int64_t(sizeof head)) return false;
    std::memcpy(&head, bytes, sizeof head);
    if (head.magic != QK_PLAN || head.layers < 1 || head.layers > kMostLayers || !(head.scale > 0)) return false;
    if (head.zero < -128 || head.zero > 127 || size < int64_t(sizeof head) + 8 * (head.layers + 1)) return false;
    plan.layers = head.layers, plan.zero = head.zero, plan.scale = head.scale, plan.widest = plan.work = 0;
    const char* base = static_cast<const char*>(bytes);
    for (int i = 0; i < head.layers; ++i) {
        int64_t from, to;  // the offset that follows the last layer's is the end
        std::memcpy(&from, base + sizeof head + 8 * i, 8);
        std::memcpy(&to, base + sizeof head + 8 * (i + 1), 8);
        Layer& layer = plan.layer[i];
        if (from < 0 || to < from || to > size || !open_layer(base + from, to - from, layer) || layer.taps != 1) return false;
        if (i && plan.layer[i - 1].outputs != layer.inputs) return false;
        plan.widest = plan.widest > layer.outputs ? plan.widest : layer.outputs;
        plan.work += int64_t(layer.inputs) * layer.outputs;
    }
    return true;
}

int run_rows(const Plan& plan, const float* x, int64_t rows, float* out, int threads) {
    const int64_t k = plan.layer[0].inputs;
    const int64_t widest = plan.widest > k ? plan.widest : k;
    auto* from = static_cast<int8_t*>(scratch(kFrom, rows * widest));
    auto* to = static_cast<int8_t*>(scratch(kTo, rows * widest));
    if (!from || !to) return QK_NO_MEMORY;
    if (!kernels().quantize(x, rows * k, plan.scale, plan.zero, from)) return QK_NOT_FINITE;
    for (int i = 0; i + 1 < plan.layers; ++i) {
        if (const int wrong = run_linear_int8(plan.layer[i], from, rows, to, threads)) return wrong;
        int8_t* swap = from;
        from = to, to = swap;
    }
    return run_linear_float(plan.layer[plan.layers - 1], from, nullptr, rows, out, threads);
}

}  // namespace
}  // namespace qk

using namespace qk;

int qk_plan(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    Plan plan;
    if (!open_plan(bytes, size, plan)) return QK_BAD_LAYER;
    const Layer& last = plan.layer[plan.layers - 1];
    if (rows < 0 || k != plan.layer[0].inputs || n != last.outputs) return QK_BAD_SHAPE;
    if (!rows) return QK_OK;
    constexpr int64_t band = 24;  // rows of one task: three full tiles
    const int64_t bands = (rows + band - 1) / band;
    if (bands == 1 || threads <= 1) {
        for (int64_t row = 0; row < rows; row += 4 * band) {  // 96 rows at a time keep the codes in the second-level cache
            const int64_t many = rows - row < 4 * band ? rows - row : 4 * band;
            const int wrong = run_rows(plan, x + row * k, many, out + row * n, threads);
            if (wrong) return wrong;
        }
        return QK_OK;
    }
    std::atomic<int> wrong{QK_OK};
    parallel_for(bands, threads, [&](int64_t task) {
        const int64_t row = task * band, many = rows - row < band ? rows - row : band;
        const int status = run_rows(plan, x + row * k, many, out + row * n, 1);
        if (status) wrong = status;
    });
    return wrong;
}
