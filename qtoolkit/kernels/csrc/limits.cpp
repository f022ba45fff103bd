// qk_limit: time the loops of limits.h.
#include <chrono>
#include <cstring>

#include "kernels.h"

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class F>
double rate(F&& run) {  // run(rounds) returns how much it did; rounds grow until the clock can see them
    for (int64_t rounds = 64;; rounds *= 4) {
        const double start = seconds(), did = run(rounds), took = seconds() - start;
        if (took > 5e-4) return did / took;
    }
}

double read_rate(int64_t bytes) {
    const int64_t count = bytes / 8;
    auto* buffer = static_cast<uint64_t*>(qk::scratch(qk::kPrepared, bytes));
    if (!buffer || count < 1) return 0;
    std::memset(buffer, 1, size_t(bytes));
    volatile uint64_t seen = qk::kernels().read_all(buffer, count);  // warm
    return rate([&](int64_t rounds) {
        rounds = 1 + rounds * 64 / count;
        for (int64_t i = 0; i < rounds; ++i) seen = qk::kernels().read_all(buffer, count);
        return double(rounds) * double(bytes);
    });
}

}  // namespace

double qk_limit(const char* what, int64_t bytes) {
    if (!std::strcmp(what, "int8")) return rate(qk::kernels().peak_int8);
    if (!std::strcmp(what, "float")) return rate(qk::kernels().peak_float);
    if (!std::strcmp(what, "signs")) return rate(qk::kernels().peak_signs);
    if (!std::strcmp(what, "read")) return read_rate(bytes);
    return 0;
}
