// How a layer's outputs are shared out among threads; for the portable files alone (kernels.h says why).
//
// A task is a panel of 64 outputs for up to 48 rows: small enough to balance, large enough (K x 3072 multiply-adds) to be worth a
// thread. One thread alone takes everything as a single range, whose loops the kernels arrange better than tasks could.
#pragma once
#include <algorithm>
#include <atomic>

#include "kernels.h"
#include "pool.h"

namespace qk {

// compute(range) for ranges that together are `rows` x `blocks`; it returns false if it failed, and then so does this.
template <class F>
bool over_ranges(int64_t rows, int32_t blocks, int threads, F&& compute) {
    constexpr int64_t kRows = 48, kBlocks = 4;
    if (threads <= 1) return compute(Range{0, rows, 0, blocks});
    std::atomic<bool> done{true};
    const int64_t panels = (blocks + kBlocks - 1) / kBlocks, bands = (rows + kRows - 1) / kRows;
    parallel_for(panels * bands, threads, [&](int64_t task) {
        const int64_t row = task % bands * kRows, block = task / bands * kBlocks;
        if (!compute(Range{row, std::min(row + kRows, rows), int32_t(block), int32_t(std::min<int64_t>(block + kBlocks, blocks))})) done = false;
    });
    return done;
}

}  // namespace qk
