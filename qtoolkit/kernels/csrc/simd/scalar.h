// Portable: plain loops over 16 outputs, for any processor and as the text to read first. The other files of this folder give
// the same names the same meaning in the instructions of one processor family:
//
//   Weights   64 packed bytes: for each of 16 outputs, its weights of 4 neighboring inputs
//   Inputs    4 neighboring inputs of one row, as every output will see them
//   Sums      16 running sums, int32
//   sums(from)                     16 sums that start from something else than zero(): a layer's bias
//   add(sums, more)                sums[j] += more[j]
//   dot(sums, inputs, weights)     sums[j] += inputs[0] w[j][0] + ... + inputs[3] w[j][3]      exact, also for -128
//   kOffset   what `prepare` has added to each input (128 where the instruction wants unsigned inputs); `start_of`
//             has taken kOffset * (sum of the output's weights) away before
//   Requantize   turns 16 sums into 16 int8 codes by the rounding rule of reference.py; made once for a block of outputs, so
//             that only the arithmetic is left for each row
#pragma once
#include <cstdint>

struct Simd {
    struct Sums { int32_t lane[16]; };
    struct Inputs { int8_t value[4]; };
    struct Weights { int8_t byte[64]; };
    static constexpr int kOffset = 0, kMostRows = 2, kMostSums = 4;  // the tile: rows, and rows x blocks of 16 outputs

    static Sums zero() { return {}; }
    static Sums sums(const int32_t* from) { Sums all; __builtin_memcpy(all.lane, from, 64); return all; }
    static Inputs spread(const int8_t* x) { return {{x[0], x[1], x[2], x[3]}}; }
    static Weights load(const int8_t* w) { Weights all; __builtin_memcpy(all.byte, w, 64); return all; }
    static void store(int32_t* to, const Sums& sums) { __builtin_memcpy(to, sums.lane, 64); }

    static void add(int32_t& sum, int32_t x) { sum = int32_t(uint32_t(sum) + uint32_t(x)); }  // wraps, as the instructions do
    static void add(Sums& sums, const Sums& more) {
        for (int j = 0; j < 16; ++j) add(sums.lane[j], more.lane[j]);
    }
    static void dot(Sums& sums, const Inputs& x, const Weights& w) {
        for (int j = 0; j < 16; ++j)
            for (int i = 0; i < 4; ++i) add(sums.lane[j], x.value[i] * w.byte[4 * j + i]);
    }

    static constexpr bool kWide = false;  // depthwise.h: 16 channels at a time
    // for depthwise.h: 16 channels of 4 pixels, interleaved as weights are, and sums[j] += x[j][0] w[j][0] + ... + x[j][3] w[j][3]
    static Weights interleave(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d) {
        Weights x;
        for (int j = 0; j < 16; ++j) x.byte[4 * j] = a[j], x.byte[4 * j + 1] = b[j], x.byte[4 * j + 2] = c[j], x.byte[4 * j + 3] = d[j];
        return x;
    }
    static void dot_each(Sums& sums, const Weights& x, const Weights& w) {
        for (int i = 0; i < 64; ++i) add(sums.lane[i / 4], x.byte[i] * w.byte[i]);
    }

    // for groupwise.h: weights of 2 or 4 bits, four or two to a byte; `dot_small` is `dot` for inputs without offset and
    // weights 0 to 15; `add_scaled` is total[j] += (sums[j] - correction) * scale[j], each step rounded
    template <int Bits>
    static Weights unpack(const Weights& packed, int part) {
        Weights w;
        for (int i = 0; i < 64; ++i) w.byte[i] = int8_t(uint8_t(packed.byte[i]) >> (Bits * part) & ((1 << Bits) - 1));
        return w;
    }
    static void dot_small(Sums& sums, const Inputs& x, const Weights& w) { dot(sums, x, w); }
    struct Reals { float lane[16]; };
    static void add_scaled(Reals& total, const Sums& sums, int32_t correction, const float* scale) {
        for (int j = 0; j < 16; ++j) total.lane[j] += float(int32_t(uint32_t(sums.lane[j]) - uint32_t(correction))) * scale[j];
    }
    static void store(float* to, const Reals& reals) { __builtin_memcpy(to, reals.lane, 64); }

    // for binary.h: sums[j] += number of ones in (x xor word j), or of those where `where` has a one as well; (all[j] - 2 differ[j])
    // scale[j] + bias[j], each step rounded; and which of 16 floats are negative, as bits
    static void count_differences(Sums& sums, uint32_t x, const Weights& w, const Weights& where) {
        uint32_t words[16], masks[16];
        __builtin_memcpy(words, w.byte, 64), __builtin_memcpy(masks, where.byte, 64);
        for (int j = 0; j < 16; ++j) sums.lane[j] += __builtin_popcount((x ^ words[j]) & masks[j]);
    }
    static void count_differences(Sums& sums, uint32_t x, const Weights& w) {
        Weights everywhere;
        __builtin_memset(everywhere.byte, 255, 64);
        count_differences(sums, x, w, everywhere);
    }
    static constexpr bool kCarries = false;  // binary.h counts word by word
    static Reals sum_of_signs(const Sums& differ, const Reals& all, const Reals& scale, const Reals& bias) {
        Reals y;
        for (int j = 0; j < 16; ++j) y.lane[j] = (all.lane[j] - float(2 * differ.lane[j])) * scale.lane[j] + bias.lane[j];
        return y;
    }
    static uint32_t negatives(const float* x) {
        uint32_t bits = 0;
        for (int i = 0; i < 16; ++i) bits |= uint32_t(x[i] < 0) << i;
        return bits;
    }

    // for codebook.h and sparse.h: 16 entries of a table of 32, chosen by 5 bits of each word; and 16 floats from anywhere
    struct Table { float entry[32]; };
    static Table table(const float* entries) { Table all; __builtin_memcpy(all.entry, entries, 128); return all; }
    template <int Bits>
    static Reals look_up(const Table& table, const Weights& w, int shift) {
        uint32_t words[16];
        Reals found;
        __builtin_memcpy(words, w.byte, 64);
        for (int j = 0; j < 16; ++j) found.lane[j] = table.entry[words[j] >> shift & ((1 << Bits) - 1)];
        return found;
    }
    static Reals load(const float* from) { Reals reals; __builtin_memcpy(reals.lane, from, 64); return reals; }
    static Reals gather(const float* x, const uint8_t* index) {
        Reals found;
        for (int j = 0; j < 16; ++j) found.lane[j] = x[index[j]];
        return found;
    }

    // for limits.h: multiply-adds of 16 floats, and a fence that the optimizer cannot see through
    static constexpr int kRealSums = 2;  // for sparse.h: registers of 16 sums
    static constexpr int kRegisters = 2;
    static Reals reals(float x) { return {{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}}; }
    static void multiply_add(Reals& sum, const Reals& x, const Reals& w) {
        for (int i = 0; i < 16; ++i) sum.lane[i] += x.lane[i] * w.lane[i];
    }
    template <class T>
    static void fence(T& x) { __asm__ volatile("" : "+m"(x)); }

    class Requantize {
      public:
        Requantize(const int32_t* multiplier, const int32_t* shift, const qk::Layer& layer)
            : multiplier_(multiplier), shift_(shift), zero_(layer.zero), lowest_(layer.lowest - layer.zero),
              highest_(layer.highest - layer.zero) {}

        void operator()(const int32_t* sums, int8_t* out) const {
            for (int j = 0; j < 16; ++j) {
                const int s = shift_[j] & 63;
                const uint64_t half = s ? uint64_t(1) << (s - 1) : 0;
                int64_t q = int64_t(uint64_t(int64_t(sums[j]) * multiplier_[j]) + half) >> s;
                q = q < lowest_ ? lowest_ : q > highest_ ? highest_ : q;
                out[j] = int8_t(q + zero_);
            }
        }

      private:
        const int32_t *multiplier_, *shift_;
        int64_t zero_, lowest_, highest_;
    };
};
