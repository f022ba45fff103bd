// What a matrix unit computes, in plain loops: the text to read beside amx.h, and the way to run tiles.h on a machine without one.
#pragma once
#include <cstdint>

struct Tiles {
    static constexpr bool kHere = true;
    static constexpr int kFewestRows = 1, kFewestSigns = 1, kFewestSignBlocks = 1;

    static void start(int rows, int bytes) { state.rows = rows, state.bytes = bytes; }
    static void stop() { state = {}; }

    template <int Tile>
    static void load(const void* from, int64_t stride) {
        for (int r = 0; r < rows_of(Tile); ++r) __builtin_memcpy(state.tile[Tile][r], static_cast<const char*>(from) + r * stride, bytes_of(Tile));
    }
    template <int Tile>
    static void stream(const void* from, int64_t stride) { load<Tile>(from, stride); }
    template <int Tile>
    static void store(void* to, int64_t stride) {
        for (int r = 0; r < rows_of(Tile); ++r) __builtin_memcpy(static_cast<char*>(to) + r * stride, state.tile[Tile][r], bytes_of(Tile));
    }
    template <bool Signed, int Sums, int Inputs, int Weights>
    static void dot() {
        for (int r = 0; r < state.rows; ++r)
            for (int o = 0; o < 16; ++o) {
                int32_t sum = word(Sums, r, o);
                for (int i = 0; i < state.bytes; ++i) {
                    const int8_t weight = int8_t(state.tile[Weights][i / 4][o * 4 + i % 4]);
                    Simd::add(sum, input<Signed>(state.tile[Inputs][r][i]) * weight);
                }
                __builtin_memcpy(state.tile[Sums][r] + o * 4, &sum, 4);
            }
    }

  private:
    template <bool Signed>
    static int32_t input(uint8_t byte) { return !Signed && Simd::kOffset ? byte : int8_t(byte); }  // unsigned where the other instructions want that
    static int rows_of(int tile) { return tile < 6 ? state.rows : state.bytes / 4; }
    static unsigned bytes_of(int tile) { return unsigned(tile == 4 || tile == 5 ? state.bytes : 64); }
    static int32_t word(int tile, int row, int at) {
        int32_t value;
        __builtin_memcpy(&value, state.tile[tile][row] + at * 4, 4);
        return value;
    }
    struct State { int rows, bytes; uint8_t tile[8][16][64]; };
    static inline thread_local State state = {};
};
