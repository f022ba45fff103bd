// AMX: eight registers of 16 rows x 64 bytes, `tmm0` to `tmm7`, and one instruction, `tdpbusd`, that multiplies two of them: 16 rows of
// 64 unsigned inputs by the packed weights of 64 inputs x 16 outputs, 16,384 multiply-adds, in 16 cycles (Intel since Sapphire Rapids).
// Such a piece of weights is 16 of the 64-byte rows that `vpdpbusd` eats one by one, so the packed layout stays as it is. How many
// rows and bytes of a register count is set beforehand (`ldtilecfg`); rows are loaded and stored any stride apart. Written in
// assembly: GCC's intrinsics take register numbers only as literals. dispatch.cpp asks the system for leave to use the registers.
#pragma once
#include <cstdint>

struct Tiles {
    static constexpr bool kHere = true;
    static constexpr int kFewestRows = 3;  // below, reading the weights takes all the time anyway
    static constexpr int kFewestSigns = 20, kFewestSignBlocks = 8;  // rows, blocks; below, spreading bits costs more than it saves

    static void start(int rows, int bytes) {  // registers 0 to 3: sums; 4, 5: inputs; 6, 7: weights
        struct alignas(64) { uint8_t palette, start_row, unused[14]; uint16_t bytes[16]; uint8_t rows[16]; } config = {1, 0, {}, {}, {}};
        for (int i = 0; i < 8; ++i) {
            config.bytes[i] = uint16_t(i == 4 || i == 5 ? bytes : 64);
            config.rows[i] = uint8_t(i < 6 ? rows : bytes / 4);
        }
        __asm__ volatile("ldtilecfg %0" ::"m"(config));
    }
    static void stop() { __asm__ volatile("tilerelease" ::: "memory"); }  // else the system saves 8 KiB at every switch of tasks

    template <int Tile>
    static void load(const void* from, int64_t stride) {
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(Tile) : "memory");
    }
    template <int Tile>
    static void stream(const void* from, int64_t stride) {  // for what is used once: it leaves the nearest cache to the rest
        __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(Tile) : "memory");
    }
    template <int Tile>
    static void store(void* to, int64_t stride) {
        __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(Tile) : "memory");
    }
    template <bool Signed, int Sums, int Inputs, int Weights>  // Signed: the inputs too
    static void dot() {
        if (Signed) __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Inputs), "i"(Weights));
        else __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Inputs), "i"(Weights));
    }
};
