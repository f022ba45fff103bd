// Canonical Huffman codes, decoded six lanes at a time (layout and reference: qtoolkit/compression/huffman.py).
//
// Decoding one stream is a chain: the next codeword starts where this one ends, so the processor waits some 7 cycles for each
// symbol (look up, shift, look up ...). A stream is therefore cut into lanes of 4096 symbols that start on their own byte;
// six lanes in flight keep the processor busy while each of them waits (with eight there are more values than registers). The
// table has an entry for every window of 12 bits: whatever follows a codeword, the window names its symbol and length (longer
// ones, rare by nature, ask a large table). A lane's next 56 bits sit in one register, below a sentinel 1: each codeword is
// shifted out at the bottom, and the zeros above the sentinel count the bits used so far. Nothing is read outside the stream:
// its last bytes are loaded one by one. Afterwards every lane must end where its size says, with zero padding; so a damaged
// stream is an error, never a wrong answer of the wrong length.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels.h"
#include "pool.h"

namespace {

constexpr int kLongest = 15, kQuick = 12, kMostSymbols = 4096;
constexpr int kAbreast = 6;  // lanes
constexpr int64_t kLane = 4096, kLanesOfTask = 10 * kAbreast;

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

uint64_t load8(const uint8_t* stream, int64_t bytes, int64_t at) {
    uint64_t word = 0;
    if (at + 8 <= bytes) std::memcpy(&word, stream + at, 8);
    else for (int64_t i = 0; at + i < bytes && i < 8; ++i) word |= uint64_t(stream[at + i]) << 8 * i;
    return word;
}

struct Lanes {  // lanes that lie one behind the other in `out`; `bit` is where each of them stands in the stream
    const uint8_t* body;
    int64_t bytes;
    const uint32_t *quick, *full;
    int quick_bits, full_bits;

    // Codewords of any length, one after the other.
    __attribute__((noinline)) int64_t slowly(int64_t bit, int64_t count, int16_t* out) const {
        for (int64_t i = 0; i < count; ++i) {
            const uint32_t entry = full[load8(body, bytes, bit >> 3) >> (bit & 7) & ((1u << full_bits) - 1)];
            out[i] = int16_t(entry >> 16), bit += entry & 63;
        }
        return bit;
    }

    // `count` symbols of N lanes in step, in groups of E symbols that one register holds. An entry of 0, a codeword of more
    // than kQuick bits, shifts nothing, so that lane stands still until its group ends: one look at what it sees then tells
    // whether the group must be done again, slowly.
    template <int N, int E>
    void groups(int64_t* at, int64_t count, int16_t* out) const {
        const Lanes my = *this;  // a copy that no store can change stays in registers
        const uint64_t mask = (1u << quick_bits) - 1;
        int64_t bit[N];
        for (int n = 0; n < N; ++n) bit[n] = at[n];
        for (const int16_t* const end = out + count; out < end; out += E) {
            uint64_t window[N];
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) {
                std::memcpy(&window[n], my.body + (bit[n] >> 3), 8);
                window[n] = window[n] >> (bit[n] & 7) | uint64_t(1) << 63;
            }
#pragma GCC unroll 8
            for (int i = 0; i < E; ++i)
#pragma GCC unroll 8
                for (int n = 0; n < N; ++n) {
                    const uint32_t entry = my.quick[window[n] & mask];
                    window[n] >>= entry & 63;
                    // volatile, hence at once: kept back to be stored by fours, symbols would fill the registers
                    *static_cast<volatile int16_t*>(out + n * kLane + i) = int16_t(entry >> 16);
                }
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n)
                if (__builtin_expect(my.quick[window[n] & mask] != 0, 1)) bit[n] += __builtin_clzll(window[n]);
                else bit[n] = slowly(bit[n], E, out + n * kLane);
        }
        for (int n = 0; n < N; ++n) at[n] = bit[n];
    }

    template <int N, int E>
    void groups_of(int64_t each, int64_t* bit, int64_t count, int16_t* out) const {  // the instance for a run-time number
        if constexpr (E > 56 / kQuick)
            if (each < E) return groups_of<N, E - 1>(each, bit, count, out);
        groups<N, E>(bit, count, out);
    }

    // A group takes at most 16 bytes of a lane: as many groups as must fit before the end of the stream, and again with what
    // is left, until a lane is so near the end that its bytes must be counted.
    template <int N>
    void run(int64_t* bit, int64_t count, int16_t* out) const {
        const int64_t each = quick_bits > 7 ? 56 / quick_bits : 8;
        for (int64_t many; (many = count / each) > 0; out += many * each, count -= many * each) {
            for (int n = 0; n < N; ++n) many = std::min(many, (bytes - 8 - (bit[n] >> 3)) / 16);
            if (many <= 0) break;
            groups_of<N, 8>(each, bit, many * each, out);
        }
        for (int n = 0; n < N; ++n) bit[n] = slowly(bit[n], count, out + n * kLane);
    }
};

bool ends_well(const uint8_t* body, int64_t bit, int64_t end_byte) {
    if ((bit + 7) >> 3 != end_byte) return false;
    return !(bit & 7) || !(body[bit >> 3] >> (bit & 7));
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
    const Lanes view{stream + 2 * lanes, bytes_left, quick, full, quick_bits, code.longest};
    if (code.used == 1)
        for (int64_t i = 0; i < bytes_left; ++i)
            if (view.body[i]) return QK_BAD_STREAM;
    std::atomic<bool> good{true};
    parallel_for((lanes + kLanesOfTask - 1) / kLanesOfTask, threads, [&](int64_t task) {
        const int64_t last = (task + 1) * kLanesOfTask < lanes ? (task + 1) * kLanesOfTask : lanes;
        for (int64_t lane = task * kLanesOfTask, many; lane < last; lane += many) {
            const int64_t left = count - lane * kLane, whole = std::min(last - lane, left / kLane);
            many = whole >= kAbreast ? kAbreast : whole >= 2 ? 2 : 1;
            int64_t bit[kAbreast];
            for (int64_t n = 0; n < many; ++n) bit[n] = from[lane + n] * 8;
            int16_t* const to = out + lane * kLane;
            if (many == kAbreast) view.run<kAbreast>(bit, kLane, to);
            else if (many == 2) view.run<2>(bit, kLane, to);
            else view.run<1>(bit, std::min(left, kLane), to);
            for (int64_t n = 0; n < many; ++n)
                if (!ends_well(view.body, bit[n], from[lane + n + 1])) good = false;
        }
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
