// What this machine can do at most: the numbers that a benchmark divides by.
//
// Arithmetic: a loop that touches nothing but registers, with enough independent sums to hide the latency of the instruction.
// Every input and sum passes a fence in each round, an empty piece of assembly of which the compiler knows only that it may change the
// value; without it, it would compute the loop beforehand and measure nothing. Memory: a loop that reads a buffer of a given
// size over and over; the size decides which cache, or none, answers. Each call runs for about a millisecond; call often, in
// the same loop as the kernels that are compared with it, and keep the best, since other jobs take their share.
#pragma once

template <class T = Tiles>
static double peak_int8(int64_t rounds) {  // returns multiply-adds
    if constexpr (T::kHere) return peak_of_tiles<T>(rounds);
    const int8_t ones[64] = {1, 1, 1, 1};
    Simd::Inputs x = Simd::spread(ones);
    const Simd::Weights w = Simd::load(ones);
    Simd::Sums sums[Simd::kRegisters];
#pragma GCC unroll 12
    for (int i = 0; i < Simd::kRegisters; ++i) sums[i] = Simd::zero();  // unrolled, or the sums live in memory
    for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
        for (int i = 0; i < Simd::kRegisters; ++i) Simd::fence(x), Simd::dot(sums[i], x, w), Simd::fence(sums[i]);
    return double(rounds) * Simd::kRegisters * 64;
}

static double peak_float(int64_t rounds) {  // returns multiply-adds
    const Simd::Reals x = Simd::reals(1.0f), w = Simd::reals(0.5f);
    Simd::Reals sums[Simd::kRegisters];
#pragma GCC unroll 12
    for (int i = 0; i < Simd::kRegisters; ++i) sums[i] = Simd::reals(0.0f);
    for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
        for (int i = 0; i < Simd::kRegisters; ++i) Simd::multiply_add(sums[i], x, w), Simd::fence(sums[i]);
    return double(rounds) * Simd::kRegisters * 16;
}

static double peak_signs(int64_t rounds) {  // returns multiply-adds of one bit; xor, count, add
    Simd::Weights w = Simd::load(reinterpret_cast<const int8_t*>("0123456789012345678901234567890123456789012345678901234567890123"));
    Simd::Sums sums[Simd::kRegisters];
#pragma GCC unroll 12
    for (int i = 0; i < Simd::kRegisters; ++i) sums[i] = Simd::zero();
    for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
        for (int i = 0; i < Simd::kRegisters; ++i) Simd::fence(w), Simd::count_differences(sums[i], 5, w), Simd::fence(sums[i]);
    return double(rounds) * Simd::kRegisters * 512;
}

static uint64_t read_all(const uint64_t* at, int64_t count) {
    uint64_t all = 0;
    for (int64_t i = 0; i < count; ++i) all ^= at[i];
    return all;
}
