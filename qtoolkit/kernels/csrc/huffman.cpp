// Canonical Huffman codes from outside: check the lengths, make codewords and tables of them, cut a stream into lanes. How lanes
// are decoded, eight at a time, stands in huffman_lanes.h (layout and reference: qtoolkit/compression/huffman.py).
//
// The codewords of a canonical code follow from their lengths: among those of one length they count upward, symbol by symbol. A
// table has an entry for every window of 12 bits: whatever follows a codeword, the window names its symbol and length; longer
// codewords, rare by nature, ask a large table. Afterwards every lane must end where its size says, with zero padding; so a damaged
// stream is an error, never a wrong answer of the wrong length.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels.h"
#include "pool.h"

namespace {

constexpr int kLongest = 15, kQuick = 12, kMostSymbols = 4096;
constexpr int64_t kLane = qk::HuffmanLanes::kSymbols, kLanesOfTask = 64;

struct Code {
    int longest = 0, used = 0;
    int first[kLongest + 2] = {};          // the symbols whose codewords have L bits are order[first[L]] ... order[first[L + 1] - 1]
    uint16_t order[kMostSymbols];
    uint32_t word[kMostSymbols] = {};      // length << 16 | codeword, first bit lowest; 0 for a symbol not in use
    bool fit(const uint8_t* lengths, int64_t symbols);
};

uint32_t reversed(uint32_t word, int length) {
    uint32_t flipped = 0;
    for (int i = 0; i < length; ++i) flipped |= (word >> i & 1) << (length - 1 - i);
    return flipped;
}

bool Code::fit(const uint8_t* lengths, int64_t symbols) {  // false unless the lengths are a complete code or one lone symbol
    if (symbols < 1 || symbols > kMostSymbols) return false;
    int many[kLongest + 1] = {};
    for (int64_t symbol = 0; symbol < symbols; ++symbol) {
        if (lengths[symbol] > kLongest) return false;
        ++many[lengths[symbol]];
    }
    uint32_t next[kLongest + 1], end = 0;  // canonical codewords, in units of 2^-15
    int place[kLongest + 1];
    for (int length = 1; length <= kLongest; ++length) {
        next[length] = end, end += uint32_t(many[length]) << (kLongest - length);
        place[length] = first[length] = used, used += many[length];
        if (many[length]) longest = length;
    }
    first[kLongest + 1] = used;
    if (end != 1u << kLongest && !(used == 1 && longest == 1)) return false;
    for (int64_t symbol = 0; symbol < symbols; ++symbol)
        if (const int length = lengths[symbol]) {
            word[symbol] = uint32_t(length) << 16 | reversed(next[length] >> (kLongest - length), length);
            next[length] += 1u << (kLongest - length), order[place[length]++] = uint16_t(symbol);
        }
    return true;
}

// The table for windows of `bits` bits from the one for `from` bits: a further bit doubles it, since whatever has been decided
// stays the same for both values of that bit, and decides the codewords of that length. An entry is symbol << 16 | length, and 0
// stands for a codeword that is longer.
void grow_table(const Code& code, int from, int bits, uint32_t* table) {
    if (!from) table[0] = code.used == 1;
    for (int length = from + 1; length <= bits; ++length) {
        std::memcpy(table + (1 << (length - 1)), table, size_t(4) << (length - 1));
        for (int i = code.first[length]; i < code.first[length + 1]; ++i)
            table[code.word[code.order[i]] & 0xffff] = uint32_t(code.order[i]) << 16 | uint32_t(length);
    }
}

}  // namespace

using namespace qk;

int qk_huffman_decode(const uint8_t* stream, int64_t bytes, const uint8_t* lengths, int64_t symbols, int64_t count,
                      int16_t* out, int threads) {
    Code code;
    if (!code.fit(lengths, symbols)) return QK_BAD_LAYER;
    if (count < 0 || count / 8 > bytes) return QK_BAD_STREAM;
    const int64_t lanes = (count + kLane - 1) / kLane, bytes_left = bytes - 2 * lanes;
    const int quick_bits = code.longest < kQuick ? code.longest : kQuick;
    auto* full = static_cast<uint32_t*>(scratch(kPrepared, (int64_t(4) << code.longest) + (int64_t(4) << quick_bits)));
    auto* from = static_cast<int64_t*>(scratch(kFrom, 8 * (lanes + 1)));  // the byte where each lane starts
    if (!full || !from) return QK_NO_MEMORY;
    if (bytes_left < 0) return QK_BAD_STREAM;
    from[0] = 0;
    for (int64_t i = 0; i < lanes; ++i) from[i + 1] = from[i] + stream[2 * i] + 256 * stream[2 * i + 1];
    if (from[lanes] != bytes_left) return QK_BAD_STREAM;
    uint32_t* quick = full + (1 << code.longest);
    grow_table(code, 0, quick_bits, quick);
    std::memcpy(full, quick, size_t(4) << quick_bits);
    grow_table(code, quick_bits, code.longest, full);
    const HuffmanLanes view{stream + 2 * lanes, bytes_left, quick, full, quick_bits, code.longest, from, count};
    if (code.used == 1)
        for (int64_t i = 0; i < bytes_left; ++i)
            if (view.body[i]) return QK_BAD_STREAM;
    std::atomic<bool> good{true};
    parallel_for((lanes + kLanesOfTask - 1) / kLanesOfTask, threads, [&](int64_t task) {
        if (!kernels().huffman_lanes(view, task * kLanesOfTask, std::min((task + 1) * kLanesOfTask, lanes), out)) good = false;
    });
    return good ? QK_OK : QK_BAD_STREAM;
}

int qk_huffman_encode(const int16_t* values, int64_t count, const uint8_t* lengths, int64_t symbols, uint8_t* out,
                      int64_t capacity, int64_t* written) {
    Code code;
    if (!code.fit(lengths, symbols)) return QK_BAD_LAYER;
    const int64_t lanes = (count + kLane - 1) / kLane;
    if (count < 0 || capacity < 2 * lanes + (count * code.longest + 7) / 8 + lanes + 8) return QK_BAD_SHAPE;
    uint8_t* to = out + 2 * lanes;
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const uint8_t* const start = to;
        const int64_t stop = (lane + 1) * kLane < count ? (lane + 1) * kLane : count;
        uint64_t window = 0;
        int filled = 0;
        for (int64_t i = lane * kLane; i < stop; ++i) {
            const uint16_t symbol = uint16_t(values[i]);
            const uint32_t word = symbol < kMostSymbols ? code.word[symbol] : 0;
            if (!word) return QK_BAD_STREAM;
            window |= uint64_t(word & 0xffff) << filled, filled += int(word >> 16);
            if (filled >= 32) std::memcpy(to, &window, 4), to += 4, window >>= 32, filled -= 32;
        }
        for (; filled > 0; filled -= 8, window >>= 8) *to++ = uint8_t(window);
        out[2 * lane] = uint8_t(to - start), out[2 * lane + 1] = uint8_t((to - start) >> 8);
    }
    *written = to - out;
    return QK_OK;
}
