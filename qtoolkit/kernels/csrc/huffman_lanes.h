// Decoding Huffman codes, eight lanes at a time.
//
// Decoding one stream is a chain: the next codeword starts where this one ends, so the processor waits some 7 cycles for each
// symbol (look up, shift, look up ...). A stream is therefore cut into lanes of 4096 symbols that start on their own byte;
// eight lanes in flight keep the processor busy while each of them waits (ten have too many values for its registers). A lane's
// next 56 bits sit in one register, below a sentinel 1: each codeword is shifted out at the bottom, and the zeros above the sentinel
// count the bits used so far. No lane needs a vector; but a shift by any number of bits is one instruction on processors that have
// AVX2, and three on those before, so this text is compiled for each set like the others. Nothing is read outside the stream:
// its last bytes are loaded one by one.
#pragma once

class HuffmanDecoder {
  public:
    explicit HuffmanDecoder(const qk::HuffmanLanes& lanes) : my_(lanes) {}

    // Lanes first .. last - 1; false: one of them does not end where it should.
    bool operator()(int64_t first, int64_t last, int16_t* out) const {
        bool good = true;
        for (int64_t lane = first, many; lane < last; lane += many) {
            const int64_t left = my_.count - lane * kLane, complete = left / kLane, whole = last - lane < complete ? last - lane : complete;
            many = whole >= kAbreast ? kAbreast : whole >= 4 ? 4 : whole >= 2 ? 2 : 1;
            int64_t bit[kAbreast];
            for (int64_t n = 0; n < many; ++n) bit[n] = my_.from[lane + n] * 8;
            int16_t* const to = out + lane * kLane;
            if (many == kAbreast) run<kAbreast>(bit, kLane, to);
            else if (many == 4) run<4>(bit, kLane, to);
            else if (many == 2) run<2>(bit, kLane, to);
            else run<1>(bit, left < kLane ? left : kLane, to);
            for (int64_t n = 0; n < many; ++n) good &= ends_well(bit[n], my_.from[lane + n + 1]);
        }
        return good;
    }

  private:
    static constexpr int kAbreast = 8;
    static constexpr int64_t kLane = qk::HuffmanLanes::kSymbols;

    uint64_t load8(int64_t at) const {
        uint64_t word = 0;
        if (at + 8 <= my_.bytes) __builtin_memcpy(&word, my_.body + at, 8);
        else for (int64_t i = 0; at + i < my_.bytes && i < 8; ++i) word |= uint64_t(my_.body[at + i]) << 8 * i;
        return word;
    }

    bool ends_well(int64_t bit, int64_t end_byte) const {
        if ((bit + 7) >> 3 != end_byte) return false;
        return !(bit & 7) || !(my_.body[bit >> 3] >> (bit & 7));
    }

    // Codewords of any length, one after the other; returns where the lane stands then.
    __attribute__((noinline)) int64_t slowly(int64_t bit, int64_t count, int16_t* out) const {
        for (int64_t i = 0; i < count; ++i) {
            const uint32_t entry = my_.full[load8(bit >> 3) >> (bit & 7) & ((1u << my_.full_bits) - 1)];
            out[i] = int16_t(entry >> 16), bit += entry & 63;
        }
        return bit;
    }

    // `count` symbols of N lanes in step, in groups of E symbols that one register holds. An entry of 0, a codeword of more
    // than `quick_bits` bits, shifts nothing, so that lane stands still until its group ends: its last entry then tells whether
    // the group must be done again, slowly.
    template <int N, int E>
    void groups(int64_t* at, int64_t count, int16_t* out) const {
        const uint8_t* const body = my_.body;  // copies that no store can change stay in registers
        const uint32_t* const quick = my_.quick;
        const uint64_t mask = (1u << my_.quick_bits) - 1;
        int64_t bit[N];
        for (int n = 0; n < N; ++n) bit[n] = at[n];
        for (const int16_t* const end = out + count; out < end; out += E) {
            uint64_t window[N];
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) {
                __builtin_memcpy(&window[n], body + (bit[n] >> 3), 8);
                window[n] = window[n] >> (bit[n] & 7) | uint64_t(1) << 63;
            }
#pragma GCC unroll 8
            for (int i = 0; i < E; ++i)
#pragma GCC unroll 8
                for (int n = 0; n < N; ++n) {
                    const uint32_t entry = quick[window[n] & mask];
                    window[n] >>= entry & 63;
                    // volatile, hence at once: kept back to be stored by fours, symbols would fill the registers
                    *static_cast<volatile int16_t*>(out + n * kLane + i) = int16_t(entry >> 16);
                    if (i < E - 1) continue;
                    if (__builtin_expect(entry != 0, 1)) bit[n] += __builtin_clzll(window[n]);
                    else bit[n] = slowly(bit[n], E, out + n * kLane);
                }
        }
        for (int n = 0; n < N; ++n) at[n] = bit[n];
    }

    template <int N, int E>
    void groups_of(int64_t each, int64_t* bit, int64_t count, int16_t* out) const {  // the instance for a run-time number
        if constexpr (E > 4)
            if (each < E) return groups_of<N, E - 1>(each, bit, count, out);
        groups<N, E>(bit, count, out);
    }

    // A group takes at most 16 bytes of a lane: as many groups as must fit before the end of the stream, and again with what
    // is left, until a lane is so near the end that its bytes must be counted.
    template <int N>
    void run(int64_t* bit, int64_t count, int16_t* out) const {
        const int64_t each = my_.quick_bits > 7 ? 56 / my_.quick_bits : 8;  // 4 to 8
        for (int64_t many; (many = count / each) > 0; out += many * each, count -= many * each) {
            for (int n = 0; n < N; ++n) {
                const int64_t fit = (my_.bytes - 8 - (bit[n] >> 3)) / 16;
                many = fit < many ? fit : many;
            }
            if (many <= 0) break;
            groups_of<N, 8>(each, bit, many * each, out);
        }
        for (int n = 0; n < N; ++n) bit[n] = slowly(bit[n], count, out + n * kLane);
    }

    const qk::HuffmanLanes my_;
};

static bool huffman_lanes(const qk::HuffmanLanes& lanes, int64_t first, int64_t last, int16_t* out) {
    return HuffmanDecoder(lanes)(first, last, out);
}
