// How a layer's outputs are shared out among threads; for the portable files alone (kernels.h says why).
//
// A task is, unless said otherwise, a panel of 64 outputs for up to 48 rows: small enough to balance, large enough (K x 3072 multiply-adds)
// to be worth a thread. One thread alone takes everything as a single range, whose loops the kernels arrange better than tasks could.
#pragma once
#include <algorithm>
#include <atomic>

#include "kernels.h"
#include "pool.h"

namespace qk {

struct TaskSize { int64_t rows = 48, blocks = 4; };

// Tasks where each first prepares its rows. A matrix unit wants many blocks in one: rows are copied into its tiles.
inline TaskSize wide_tasks(int32_t blocks, int threads) {
    if (!kernels().matrix_unit) return {};
    return {256, std::max<int64_t>(TaskSize{}.blocks, (blocks + 2 * threads - 1) / (2 * threads))};
}

// compute(range) for ranges that together are `rows` x `blocks`; it returns false if it failed, and then so does this.
template <class F>
bool over_ranges(int64_t rows, int32_t blocks, int threads, F&& compute, TaskSize size = {}) {
    if (threads <= 1) return compute(Range{0, rows, 0, blocks});
    std::atomic<bool> done{true};
    const int64_t panels = (blocks + size.blocks - 1) / size.blocks, bands = (rows + size.rows - 1) / size.rows;
    parallel_for(panels * bands, threads, [&](int64_t task) {
        const int64_t row = task % bands * size.rows, block = task / bands * size.blocks;
        if (!compute(Range{row, std::min(row + size.rows, rows), int32_t(block), int32_t(std::min<int64_t>(block + size.blocks, blocks))})) done = false;
    });
    return done;
}

}  // namespace qk
