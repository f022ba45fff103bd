// Which instruction set? One library carries them all, and asks the processor once, when it is loaded.
//
// x86: the `cpuid` instruction lists what the processor has; `xgetbv` tells which registers the operating system saves when
// it switches tasks (a processor with AVX-512 under a system that does not save its registers must not use them).
// ARM: the Linux kernel hands a list to every process (`getauxval`); every Apple processor has the dot product.
// The answer is a table of function pointers, so the choice costs one indirect call and no branch in any loop.
#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace qk {
namespace {

struct Processor { bool avx2 = false, avxvnni = false, avx512vnni = false, avx512 = false, amx = false, neon = false; };

#if defined(__x86_64__)
// The registers of a matrix unit are large, so Linux saves them only for processes that asked for it.
bool may_use_tiles() {
#if defined(__linux__)
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h
    return !syscall(SYS_arch_prctl, request_permission, tile_data);
#else
    return false;
#endif
}

Processor ask_processor() {
    Processor has;
    unsigned a, b, c, d, most = __get_cpuid_max(0, nullptr);
    if (most < 7) return has;
    __cpuid(1, a, b, c, d);
    if (!(c >> 27 & 1) || !(c >> 12 & 1)) return has;  // the system does not use xsave; no fused multiply-add
    unsigned extended = 0;
    if (__get_cpuid_max(0x80000000, nullptr) > 0x80000000) __cpuid(0x80000001, a, b, extended, d);
    unsigned saved, high;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    __cpuid_count(7, 0, a, b, c, d);
    const unsigned subleaves = a;
    const unsigned need512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
    has.avx2 = (saved & 0x6) == 0x6 && (b >> 5 & 1) && (b >> 8 & 1) && (extended >> 5 & 1);  // and BMI2, LZCNT
    has.avx512vnni = has.avx2 && (saved & 0xe6) == 0xe6 && (b & need512) == need512 && (c >> 11 & 1);  // and VNNI
    has.avx512 = has.avx512vnni && (c >> 14 & 1);  // and VPOPCNTDQ
    has.amx = has.avx512 && (saved >> 17 & 3) == 3 && (d >> 24 & 3) == 3 && may_use_tiles();  // tiles, and products of bytes
    if (subleaves >= 1) {
        __cpuid_count(7, 1, a, b, c, d);
        has.avxvnni = has.avx2 && (a >> 4 & 1);
    }
    return has;
}
#elif defined(__aarch64__) && defined(__linux__)
Processor ask_processor() {
    Processor has;
    has.neon = getauxval(AT_HWCAP) >> 20 & 1;  // HWCAP_ASIMDDP
    return has;
}
#else
Processor ask_processor() {
    Processor has;
#if defined(__aarch64__) && defined(__APPLE__)
    has.neon = true;
#endif
    return has;
}
#endif

std::vector<const Kernels*> find_kernels() {  // best first
    const Processor has = ask_processor();
    std::vector<const Kernels*> found;
    (void)has;
#ifdef QK_HAS_AMX
    if (has.amx) found.push_back(&amx_kernels);
#endif
#ifdef QK_HAS_AVX512
    if (has.avx512) found.push_back(&avx512_kernels);
#endif
#ifdef QK_HAS_AVX512VNNI
    if (has.avx512vnni) found.push_back(&avx512vnni_kernels);
#endif
#ifdef QK_HAS_AVXVNNI
    if (has.avxvnni) found.push_back(&avxvnni_kernels);
#endif
#ifdef QK_HAS_AVX2
    if (has.avx2) found.push_back(&avx2_kernels);
#endif
#ifdef QK_HAS_NEON
    if (has.neon) found.push_back(&neon_kernels);
#endif
    found.push_back(&scalar_kernels);
    found.push_back(&tiles_kernels);
    return found;
}

const std::vector<const Kernels*>& available() {
    static const std::vector<const Kernels*> found = find_kernels();
    return found;
}

std::atomic<const Kernels*> in_use{nullptr};

}  // namespace

const Kernels& kernels() {
    const Kernels* table = in_use.load(std::memory_order_acquire);
    if (!table) in_use.store(table = available().front(), std::memory_order_release);
    return *table;
}

}  // namespace qk

int qk_abi(void) { return QK_ABI; }

const char* qk_isas(void) {
    static const std::string names = [] {
        std::string all;
        for (const auto* table : qk::available()) all += (all.empty() ? "" : " ") + std::string(table->name);
        return all;
    }();
    return names.c_str();
}

const char* qk_isa(void) { return qk::kernels().name; }

int qk_use_isa(const char* name) {
    for (const auto* table : qk::available())
        if (!std::strcmp(name, table->name)) return qk::in_use.store(table, std::memory_order_release), 0;
    return 1;
}
