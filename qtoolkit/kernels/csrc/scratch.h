// Working memory that a thread keeps between calls: `scratch(slot, bytes)` returns at least that many bytes, aligned to a
// cache line, or null if there is no memory. A slot's contents last until the same thread asks for the same slot again.
#pragma once
#include <cstdint>

namespace qk {
enum Slot { kPrepared, kRowScales, kRowCodes, kRowSums, kFrom, kTo, kPointers, kPatches, kTiles, kParities, kSlots };
void* scratch(Slot slot, int64_t bytes);
}
