// Canonical Huffman codes, decoded four lanes at a time (layout and reference: qtoolkit/compression/huffman.py).
//
// Decoding one stream is a chain: the next codeword starts where this one ends, so the processor waits some 7 cycles for each
// symbol (look up, shift, look up ...). A stream is therefore cut into lanes of 4096 symbols that start on their own byte;
// four lanes in flight keep the processor busy while each of them waits. The table has an entry for every window of 11 bits:
// whatever follows a codeword, the window names its symbol and length (longer ones, rare by nature, ask a large table). A lane's next 56 bits sit in one register, below
// a sentinel 1: each codeword is shifted out at the bottom, and the zeros above the sentinel count the bits used so far.
// Nothing is read outside the stream: within 8 bytes of its end, loads are done byte by byte. Afterwards every lane must end
// where its size says, with zero padding; so a damaged stream is an error, never a wrong answer of the wrong length.
#include <atomic>
#include <cstring>

#include "kernels.h"
#include "pool.h"

namespace {

constexpr int kLongest = 15, kQuick = 11, kMostSymbols = 4096;
constexpr int64_t kLane = 4096, kLanesOfTask = 64;

struct Code {
    int longest = 0, used = 0;
    uint32_t word[kMostSymbols] = {};  // length << 16 | codeword, first bit lowest; 0 for a symbol not in use
    bool fit(const uint8_t* lengths, int64_t symbols);
};

uint32_t reversed(uint32_t word, int length) {
    uint32_t flipped = 0;
    for (int i = 0; i < length; ++i) flipped |= (word >> i & 1) << (length - 1 - i);
    return flipped;
}

bool Code::fit(const uint8_t* lengths, int64_t symbols) {  // false unless the lengths are a complete code or one lone symbol
    if (symbols < 1 || symbols > kMostSymbols) return false;
    uint32_t next = 0;  // the canonical codeword, in units of 2^-15
    for (int length = 1; length <= kLongest; ++length)
        for (int64_t symbol = 0; symbol < symbols; ++symbol)
            if (lengths[symbol] == length) {
                if (next >= 1u << kLongest) return false;
                word[symbol] = uint32_t(length) << 16 | reversed(next >> (kLongest - length), length);
                next += 1u << (kLongest - length), longest = length, ++used;
            } else if (lengths[symbol] > kLongest) return false;
    return next == 1u << kLongest || (used == 1 && longest == 1);
}

// An entry is symbol << 16 | length. `table` serves windows of `bits` bits; 0 there stands for a codeword that is longer.
void fill_table(const Code& code, int bits, uint32_t* table) {
    for (uint32_t window = 0; window < 1u << bits; ++window) table[window] = code.used == 1;
    for (uint32_t symbol = 0; symbol < kMostSymbols; ++symbol) {
        const uint32_t length = code.word[symbol] >> 16;
        if (length && int(length) <= bits)
            for (uint32_t window = code.word[symbol] & 0xffff; window < 1u << bits; window += 1u << length)
                table[window] = symbol << 16 | length;
    }
}

uint64_t load8(const uint8_t* stream, int64_t bytes, int64_t at) {
    uint64_t word = 0;
    if (at + 8 <= bytes) std::memcpy(&word, stream + at, 8);
    else for (int64_t i = 0; at + i < bytes && i < 8; ++i) word |= uint64_t(stream[at + i]) << 8 * i;
    return word;
}

struct Lanes {  // the lanes of one task; `bit` is where each of them stands
    const uint8_t* body;
    int64_t bytes;
    const uint32_t *quick, *full;
    int quick_bits, full_bits;

    uint64_t load(int64_t bit) const { return load8(body, bytes, bit >> 3) >> (bit & 7) | uint64_t(1) << 63; }

    // One codeword of any length; `bit` moves past it.
    int16_t one(int64_t& bit) const {
        const uint32_t entry = full[load(bit) & ((1u << full_bits) - 1)];
        bit += entry & 63;
        return int16_t(entry >> 16);
    }

    // Decode `count` symbols of N lanes in step, in groups that one register holds. An entry of 0, a codeword of more than
    // kQuick bits, shifts nothing, so that lane stands still until its group ends: one look at what it sees then tells
    // whether the group must be done again, slowly.
    template <int N>
    void run(int64_t* bit, int64_t count, int16_t* const* out) const {
        const uint64_t mask = (1u << quick_bits) - 1;
        const int64_t each = 56 / quick_bits;
        for (int64_t done = 0; done < count; done += each) {
            const int64_t stop = done + each < count ? done + each : count;
            uint64_t window[N];
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) window[n] = load(bit[n]);
            for (int64_t i = done; i < stop; ++i)
#pragma GCC unroll 4
                for (int n = 0; n < N; ++n) {
                    const uint32_t entry = quick[window[n] & mask];
                    window[n] >>= entry & 63;
                    out[n][i] = int16_t(entry >> 16);
                }
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n)
                if (quick[window[n] & mask]) bit[n] += __builtin_clzll(window[n]);
                else for (int64_t i = done; i < stop; ++i) out[n][i] = one(bit[n]);
        }
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
    fill_table(code, code.longest, full);
    fill_table(code, quick_bits, quick);
    const Lanes view{stream + 2 * lanes, bytes_left, quick, full, quick_bits, code.longest};
    if (code.used == 1)
        for (int64_t i = 0; i < bytes_left; ++i)
            if (view.body[i]) return QK_BAD_STREAM;
    std::atomic<bool> good{true};
    parallel_for((lanes + kLanesOfTask - 1) / kLanesOfTask, threads, [&](int64_t task) {
        const int64_t last = (task + 1) * kLanesOfTask < lanes ? (task + 1) * kLanesOfTask : lanes;
        for (int64_t lane = task * kLanesOfTask, many; lane < last; lane += many) {
            const bool four = lane + 4 <= last && (lane + 4) * kLane <= count;
            many = four ? 4 : 1;
            int64_t bit[4];
            int16_t* to[4];
            for (int64_t n = 0; n < many; ++n) bit[n] = from[lane + n] * 8, to[n] = out + (lane + n) * kLane;
            const int64_t left = count - lane * kLane;
            four ? view.run<4>(bit, kLane, to) : view.run<1>(bit, left < kLane ? left : kLane, to);
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
