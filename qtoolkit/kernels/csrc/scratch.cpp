// Per-thread working memory; scratch.h says how to use it.
#include "scratch.h"

#include <cstdlib>

namespace qk {
namespace {

struct Memory {
    void* at[kSlots] = {};
    int64_t bytes[kSlots] = {};
    ~Memory() { for (void* each : at) std::free(each); }
};

thread_local Memory memory;

}  // namespace

void* scratch(Slot slot, int64_t bytes) {
    if (bytes <= memory.bytes[slot]) return memory.at[slot];
    std::free(memory.at[slot]);
    const int64_t rounded = (bytes + 63) / 64 * 64;
    memory.at[slot] = nullptr, memory.bytes[slot] = 0;
    if (posix_memalign(&memory.at[slot], 64, size_t(rounded))) return memory.at[slot] = nullptr;
    memory.bytes[slot] = rounded;
    return memory.at[slot];
}

}  // namespace qk
