// A check of the kernels that needs no Python: every instruction set of this processor against plain loops and against each
// other. Built by test_native_check.py with sanitizers, and for ARM, where it runs in an emulator. Prints what it checked.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "../../qtoolkit/kernels/csrc/qk.h"

static uint64_t state = 1;
static int64_t any(int64_t low, int64_t high) {  // low..high, from a 64-bit linear congruence
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + int64_t((state >> 33) % uint64_t(high - low + 1));
}

static void fail(const char* what, const std::string& isa, int m, int n, int k) {
    std::printf("%s differs on %s for %d x %d x %d\n", what, isa.c_str(), m, k, n);
    std::exit(1);
}

struct Sample {
    int m, n, k, n16, k4;
    std::vector<int8_t> w, x;
    std::vector<int32_t> sums, layer;  // as 32-bit words, for alignment
    int64_t bytes;
    int32_t *bias, *multiplier, *shift, zero;
    float *scale, *real;

    Sample(int m, int n, int k, bool extreme) : m(m), n(n), k(k), n16((n + 15) / 16 * 16), k4((k + 3) / 4 * 4), w(n * k), x(m * k) {
        bytes = 64 + 24 * int64_t(n16) + int64_t(n16) * k4;
        layer.assign(size_t(bytes / 4), 0);
        for (auto& code : w) code = int8_t(extreme ? (any(0, 1) ? 127 : -127) : any(-127, 127));
        for (auto& code : x) code = int8_t(extreme ? (any(0, 1) ? 127 : -128) : any(-128, 127));
        zero = int32_t(any(-128, 127));
        const qk_header head{QK_LAYER, n, k, 1, zero, -128, 127, {}};
        std::memcpy(layer.data(), &head, 64);
        bias = layer.data() + 16, multiplier = bias + 2 * n16, shift = bias + 3 * n16;
        scale = reinterpret_cast<float*>(bias + 4 * n16), real = scale + n16;
        auto* packed = reinterpret_cast<int8_t*>(real + n16);
        for (int o = 0; o < n; ++o) {
            bias[o] = int32_t(any(-(1 << 30), 1 << 30)), multiplier[o] = int32_t(any(1 << 30, (1u << 31) - 1));
            shift[o] = int32_t(any(1, 62)), scale[o] = float(any(1, 1000)) / 8192, real[o] = float(any(-999, 999)) / 64;
            for (int i = 0; i < k; ++i) {
                bias[n16 + o] += w[o * k + i];  // the column sum
                packed[(int64_t(o / 16) * (k4 / 4) + i / 4) * 64 + o % 16 * 4 + i % 4] = w[o * k + i];
            }
        }
        for (int r = 0; r < m; ++r)
            for (int o = 0; o < n; ++o) sums.push_back(compute_sum(r, o));
    }

    int32_t sum(int r, int o) const { return sums[size_t(r) * n + o]; }
    int32_t compute_sum(int r, int o) const {
        uint32_t all = uint32_t(bias[o]);
        for (int i = 0; i < k; ++i) all += uint32_t(int32_t(x[r * k + i]) * w[o * k + i]);
        return int32_t(all);
    }
    int8_t code(int r, int o) const {
        const __int128 product = __int128(sum(r, o)) * multiplier[o] + (__int128(1) << (shift[o] - 1));
        const __int128 q = (product >> shift[o]) + zero;
        return int8_t(q < -128 ? -128 : q > 127 ? 127 : q);
    }
};

static void check(const std::string& isa, int m, int n, int k, bool extreme) {
    const Sample s(m, n, k, extreme);
    std::vector<int8_t> codes(size_t(m) * n);
    std::vector<float> reals(size_t(m) * n);
    for (int threads : {1, 3}) {
        if (qk_linear_int8(s.layer.data(), s.bytes, s.x.data(), m, k, codes.data(), n, threads)) fail("status", isa, m, n, k);
        if (qk_linear_float(s.layer.data(), s.bytes, s.x.data(), m, k, reals.data(), n, threads)) fail("status", isa, m, n, k);
        for (int r = 0; r < m; ++r)
            for (int o = 0; o < n; ++o) {
                if (codes[r * n + o] != s.code(r, o)) fail("int8 output", isa, m, n, k);
                const volatile float product = float(s.sum(r, o)) * s.scale[o];  // volatile: no fused multiply-add
                if (reals[r * n + o] != product + s.real[o]) fail("float output", isa, m, n, k);
            }
    }
    for (int64_t cut = 0; cut < s.bytes; cut += 1 + s.bytes / 7)
        if (!qk_linear_int8(s.layer.data(), cut, s.x.data(), m, k, codes.data(), n, 1)) fail("a cut layer's refusal", isa, m, n, k);
}

static void check_quantize(const std::string& isa) {
    std::vector<float> x(3001);
    for (auto& value : x) value = float(any(-4000, 4000)) / 16;
    std::vector<int8_t> codes(x.size());
    for (int zero : {-128, -3, 127}) {
        qk_quantize(x.data(), int64_t(x.size()), 0.5f, zero, codes.data(), 2);
        for (size_t i = 0; i < x.size(); ++i) {
            const double q = std::nearbyint(x[i] / 0.5) + zero;
            if (codes[i] != (q < -128 ? -128 : q > 127 ? 127 : q)) fail("quantize", isa, 1, 1, int(i));
        }
    }
    x[2500] = NAN;
    if (qk_quantize(x.data(), int64_t(x.size()), 0.5f, 0, codes.data(), 1) != QK_NOT_FINITE) fail("NaN", isa, 1, 1, 1);
}

static std::vector<float> groupwise(int m, int n, int k, int bits) {  // random bytes are a valid layer body
    const int group = 32, groups = (k + group - 1) / group, blocks = (n + 15) / 16;
    state = uint64_t(m + n + k + bits);
    std::vector<int32_t> layer(size_t(16 + blocks * 16 + blocks * groups * (16 + bits * group / 2)));
    for (auto& word : layer) word = int32_t(any(0, 1 << 30));
    const qk_groupwise_header head{QK_GROUPWISE, n, k, bits, group, {}};
    std::memcpy(layer.data(), &head, 64);
    for (int block = 0, at = 16; block < blocks; ++block, at = 16 + blocks * 16 + block * groups * (16 + bits * group / 2))
        for (int g = 0; g < groups; ++g)
            for (int j = 0; j < 16; ++j) {
                const float scale = float(any(1, 99)) / 64;
                std::memcpy(&layer[size_t(16 + blocks * 16 + (block * groups + g) * (16 + bits * group / 2) + j)], &scale, 4);
            }
    std::vector<float> x(size_t(m) * k), y(size_t(m) * n);
    for (auto& value : x) value = float(any(-4000, 4000)) / 256;
    if (qk_groupwise(layer.data(), int64_t(layer.size()) * 4, x.data(), m, k, y.data(), n, 2)) fail("status", qk_isa(), m, n, k);
    return y;
}

static float small() { return float(any(-99, 99)) / 64; }

// A layer of signs (1 bit a weight), signs and zeros (2), or codebook indices (4, 5), its bits random.
static std::vector<int32_t> table(int n, int k, int taps, int bits) {
    const int each = bits <= 2 ? 32 : 32 / bits, blocks = (n + 15) / 16, words = taps * ((k + each - 1) / each) * (bits == 2 ? 2 : 1);
    const int reals = 16 * (bits == 2 ? 3 : 2);  // of a block
    std::vector<int32_t> layer(size_t(48 + blocks * (reals + words * 16)));
    for (auto& word : layer) word = int32_t(any(INT32_MIN, INT32_MAX));
    qk_table_header head{QK_TABLE, n, k, bits, taps, {}, {}};
    for (auto& entry : head.entries) entry = small();
    std::memcpy(layer.data(), &head, sizeof head);
    for (int i = 48; i < 48 + reals * blocks; ++i) {
        const float value = small();
        std::memcpy(&layer[size_t(i)], &value, 4);
    }
    for (int output = 0; bits == 2 && output < 16 * blocks; ++output) {  // how many of its weights are not 0
        const int32_t* where = &layer[size_t(48 + reals * blocks + output / 16 * words * 16 + 16 + output % 16)];
        float kept = 0;
        for (int word = 0; word < words / 2; ++word) kept += float(__builtin_popcount(uint32_t(where[word * 32])));
        std::memcpy(&layer[size_t(48 + 32 * blocks + output)], &kept, 4);
    }
    return layer;
}

static std::vector<float> reals(int64_t count) {
    std::vector<float> x(static_cast<size_t>(count));
    for (auto& value : x) value = small();
    return x;
}

static std::vector<float> of_table(int m, int n, int k, int bits) {
    state = uint64_t(m + n + k + bits);
    const auto layer = table(n, k, 1, bits);
    const auto x = reals(int64_t(m) * k);
    std::vector<float> y(size_t(m) * n);
    if (qk_table(layer.data(), int64_t(layer.size()) * 4, x.data(), m, k, y.data(), n, 2)) fail("status of table", qk_isa(), m, n, k);
    return y;
}

static std::vector<float> of_sign_conv(int channels, int n, int bits) {
    state = uint64_t(channels + n + bits);
    const int32_t geometry[13] = {9, 7, 5, 3, 3, 2, 2, 3, 1, 2, 1, 2, 1};  // size, out size, kernel, stride, padding, dilation, groups
    const auto layer = table(n, channels, 6, bits);
    const auto x = reals(2 * 63 * channels);
    std::vector<float> y(size_t(2 * 15 * n));
    if (qk_table_conv(layer.data(), int64_t(layer.size()) * 4, x.data(), 2, channels, geometry, y.data(), n, 2))
        fail("status of sign convolution", qk_isa(), 2, n, channels);
    return y;
}

// How a sparse layer is cut (qk.h), written down once more.
static void cut(int all, int most, int& each, int& parts) {
    parts = (all + most - 1) / most, each = ((all + parts - 1) / parts + 15) / 16 * 16;
}

static std::vector<float> of_sparse(int m, int n, int k) {
    state = uint64_t(m + n + k);
    int window, windows, block, blocks;
    cut(n, 256, window, windows), cut(k, 128, block, blocks);
    const int tiles = windows * blocks;
    std::vector<int32_t> start{0};
    std::vector<float> value, bias(size_t(windows) * window);
    std::vector<uint8_t> height, order, index;
    for (int tile = 0; tile < tiles; ++tile) {
        const int inputs = std::min(block, k - tile % blocks * block);
        for (int o = 0; o < window; ++o) order.push_back(uint8_t(o));
        for (int o = window - 1; o > 0; --o) std::swap(order[order.size() - 1 - size_t(o)], order[order.size() - 1 - size_t(any(0, o))]);
        for (int slice = 0; slice < window / 16; ++slice) {
            height.push_back(uint8_t(any(0, 2) ? any(0, std::min(inputs, 9)) : 0));
            for (int i = 0; i < 16 * height.back(); ++i) value.push_back(any(0, 9) ? small() : 0.0f), index.push_back(uint8_t(any(0, inputs - 1)));
        }
        start.push_back(int32_t(value.size()));
    }
    for (int o = 0; o < n; ++o) bias[size_t(o)] = small();
    const qk_sparse_header head{QK_SPARSE, n, k, int32_t(value.size()), {}};
    std::vector<char> layer;
    const auto append = [&](const void* from, size_t bytes) { layer.insert(layer.end(), static_cast<const char*>(from), static_cast<const char*>(from) + bytes); };
    append(&head, 64), append(bias.data(), bias.size() * 4);
    const size_t start_at = layer.size();
    append(start.data(), start.size() * 4), append(value.data(), value.size() * 4);
    const size_t height_at = layer.size(), order_at = height_at + height.size();
    append(height.data(), height.size()), append(order.data(), order.size()), append(index.data(), index.size());
    const auto x = reals(int64_t(m) * k);
    std::vector<float> y(size_t(m) * n);
    const auto run = [&] { return qk_sparse(layer.data(), int64_t(layer.size()), x.data(), m, k, y.data(), n, 2); };
    if (run()) fail("status of sparse", qk_isa(), m, n, k);
    const auto whole = y;
    const auto refused = [&](const char* what, size_t at, auto wrong) {
        char right[8];
        std::memcpy(right, &layer[at], sizeof wrong), std::memcpy(&layer[at], &wrong, sizeof wrong);
        if (run() != QK_BAD_LAYER) fail(what, qk_isa(), m, n, k);
        std::memcpy(&layer[at], right, sizeof wrong);
    };
    const int last = k - (blocks - 1) * block;
    for (int beyond : {last, 255})
        if (beyond < 256 && start[size_t(tiles)] > start[size_t(tiles) - 1]) refused("an index beyond the inputs", layer.size() - 1, uint8_t(beyond));
    if (window < 256) refused("an output beyond the window", order_at + size_t(any(0, int64_t(order.size()) - 1)), uint8_t(255));
    refused("a slice too high", height_at + size_t(any(0, int64_t(height.size()) - 1)), uint8_t(200));
    for (int32_t wrong : {-16, INT32_MIN, INT32_MAX}) refused("a tile that begins elsewhere", start_at + 4 * size_t(any(0, tiles)), wrong);
    return whole;
}

// The tiles of a layer of which most are zero, in the dense layer (which `check` has held against plain loops) and alone; then damage.
static void check_tiles(const std::string& isa, int m, int n, int k, int one_in) {
    Sample s(m, n, k, false);
    const int blocks = s.n16 / 16, fours = s.k4 / 4;
    auto* packed = reinterpret_cast<int8_t*>(s.real + s.n16);
    std::vector<int32_t> start{0}, sparse(s.layer.begin(), s.layer.begin() + 16 + 6 * s.n16);
    std::vector<uint16_t> index;
    for (int block = 0; block < blocks; ++block) {
        for (int four = 0; four < fours; ++four) {
            int8_t* tile = packed + (int64_t(block) * fours + four) * 64;
            const bool kept = !any(0, one_in - 1);
            for (int i = 0; i < 64; ++i)
                if (!kept) s.bias[s.n16 + block * 16 + i / 4] -= tile[i], tile[i] = 0;  // its column sum
            if (!kept) continue;
            index.push_back(uint16_t(four));
            int32_t words[16];
            std::memcpy(words, tile, 64);
            sparse.insert(sparse.end(), words, words + 16);
        }
        start.push_back(int32_t(index.size()));
    }
    std::copy(s.bias + s.n16, s.bias + 2 * s.n16, sparse.begin() + 16 + s.n16);
    sparse[0] = QK_TILE_SPARSE, sparse[8] = int32_t(index.size());
    sparse.insert(sparse.end(), start.begin(), start.end());
    const size_t lists = sparse.size() * 4;  // bytes up to the indices
    std::vector<uint8_t> bytes(lists + index.size() * 2);
    std::memcpy(bytes.data(), sparse.data(), lists);
    if (!index.empty()) std::memcpy(bytes.data() + lists, index.data(), index.size() * 2);
    std::vector<int8_t> expected(size_t(m) * n), got(expected);
    const auto run = [&](int64_t size, int threads) {
        return qk_tile_sparse(bytes.data(), size, s.x.data(), m, k, got.data(), n, threads);
    };
    if (qk_linear_int8(s.layer.data(), s.bytes, s.x.data(), m, k, expected.data(), n, 1)) fail("status", isa, m, n, k);
    for (int threads : {1, 3})
        if (run(int64_t(bytes.size()), threads) || got != expected) fail("tile sparse", isa, m, n, k);
    for (size_t cut = 0; cut < bytes.size(); cut += 1 + bytes.size() / 7)
        if (run(int64_t(cut), 1) != QK_BAD_LAYER) fail("a cut layer's refusal", isa, m, n, k);
    const auto whole = bytes;
    if (!index.empty()) {
        bytes[lists + 1] = 255;  // four inputs far beyond the last
        if (run(int64_t(bytes.size()), 1) != QK_BAD_LAYER) fail("a tile beyond the inputs", isa, m, n, k);
    }
    for (int round = 0; round < 100; ++round) {
        bytes = whole;
        const int64_t from = round % 2 ? int64_t(sparse.size() - start.size()) * 4 : 0;
        for (int64_t many = any(1, 4); many; --many) bytes[size_t(any(from, int64_t(bytes.size()) - 1))] = uint8_t(any(0, 255));
        run(int64_t(bytes.size()), 1 + round % 3);
    }
}

static std::vector<float> of_relative_sparse(int m, int n, int k) {
    state = uint64_t(m + 2 * n + 3 * k);
    std::vector<int32_t> start{0};
    std::vector<uint8_t> gap, code;
    for (int o = 0; o < n; ++o) {
        for (int64_t place = any(0, 40); place < k; place += 1 + gap.back()) {  // `place` lies ahead of the row's last weight
            gap.push_back(uint8_t(any(0, k - 1 - place < 200 ? k - 1 - place : 200))), code.push_back(uint8_t(any(0, 255)));
        }
        start.push_back(int32_t(gap.size()));
    }
    const qk_relative_sparse_header head{QK_RELATIVE_SPARSE, n, k, int32_t(gap.size()), {}};
    auto real = reals(256 + n);
    real[0] = 0;
    std::vector<uint8_t> layer(sizeof head);
    std::memcpy(layer.data(), &head, sizeof head);
    const auto append = [&](const void* from, size_t bytes) {
        layer.insert(layer.end(), static_cast<const uint8_t*>(from), static_cast<const uint8_t*>(from) + bytes);
    };
    append(real.data(), real.size() * 4), append(start.data(), start.size() * 4), append(gap.data(), gap.size()), append(code.data(), code.size());
    const auto x = reals(int64_t(m) * k);
    std::vector<float> y(size_t(m) * n);
    const auto run = [&] { return qk_relative_sparse(layer.data(), int64_t(layer.size()), x.data(), m, k, y.data(), n, 2); };
    if (run()) fail("status of relative sparse", qk_isa(), m, n, k);
    const auto whole = y;
    if (k < 200 && !gap.empty()) {  // the last weight lies beyond the last input
        layer[layer.size() - code.size() - 1] = 255;
        if (run() != QK_BAD_LAYER) fail("a gap beyond the inputs", qk_isa(), m, n, k);
    }
    return whole;
}

// The same on this instruction set as in plain loops: signs to the bit, sums of real numbers but for their rounding.
template <class Run>
static void check_real(const char* what, const std::string& isa, bool exact, Run run) {
    qk_use_isa("scalar");
    const auto expected = run();
    qk_use_isa(isa.c_str());
    const auto got = run();
    for (size_t i = 0; i < got.size(); ++i)
        if (!(std::fabs(got[i] - expected[i]) <= (exact ? 0 : 1e-3))) fail(what, isa, int(i), 0, 0);
}

// Random layers of a convolution (or one depthwise layer), whose bytes are their own oracle: read as qk.h says, summed by plain loops.
static void check_conv(const std::string& isa, int groups, int inputs, int outputs, const int32_t (&g)[13], bool patches = false) {
    const bool depthwise = groups > 1 && inputs == 1 && outputs == 1;
    const int channels = groups * inputs, all = groups * outputs, area = g[4] * g[5], count = depthwise ? 1 : groups;
    const int n = all / count, k = depthwise ? area : patches ? area * inputs : inputs, taps = depthwise || patches ? 1 : area, n16 = (n + 15) / 16 * 16, k4 = (k + 3) / 4 * 4;
    const size_t words = size_t(16 + 6 * n16 + n16 * k4 / 4 * taps);
    std::vector<int32_t> layers(words * size_t(count));
    std::vector<int8_t> x(size_t(2 * g[0] * g[1] * channels)), got(size_t(2 * g[2] * g[3] * all));
    for (auto& code : x) code = int8_t(any(0, 3) ? any(-128, 127) : -128);
    const qk_header head{QK_LAYER, n, k, taps, 3, -128, 127, int32_t(any(-128, 127)), {}};
    const auto weight = [&](int group, int o, int tap, int i) -> int8_t& {  // of output o of a group
        const int at = depthwise ? tap : tap * (patches ? inputs : k4) + i;
        return reinterpret_cast<int8_t*>(&layers[words * size_t(group) + 16 + 6 * n16])[(int64_t(o / 16) * (k4 / 4 * taps) + at / 4) * 64 + o % 16 * 4 + at % 4];
    };
    for (int group = 0; group < count; ++group) {
        int32_t* arrays = &layers[words * size_t(group)];
        std::memcpy(arrays, &head, 64);
        arrays += 16;
        for (int o = 0; o < n; ++o) {
            arrays[o] = int32_t(any(-9999, 9999)), arrays[2 * n16 + o] = int32_t(any(1 << 30, (1u << 31) - 1)), arrays[3 * n16 + o] = int32_t(any(36, 45));
            for (int tap = 0; tap < area; ++tap)
                for (int i = 0; i < inputs; ++i) arrays[n16 + o] += weight(group, o, tap, i) = int8_t(any(0, 3) ? any(-127, 127) : 127);
        }
    }
    if (qk_conv_int8(layers.data(), int64_t(layers.size()) * 4, x.data(), 2, channels, g, got.data(), all, 3)) fail("status of conv", isa, groups, all, channels);
    for (size_t at = 0; at < got.size(); ++at) {
        const int out = int(at) % all, pixel = int(at) / all, column = pixel % g[3], row = pixel / g[3] % g[2], image = pixel / g[3] / g[2];
        const int group = depthwise ? 0 : out / n, o = out % n, first = out / outputs * inputs;
        const int32_t* arrays = &layers[words * size_t(group) + 16];
        int64_t sum = arrays[o];
        for (int tap = 0; tap < area; ++tap) {
            const int y = row * g[6] - g[8] + tap / g[5] * g[10], z = column * g[7] - g[9] + tap % g[5] * g[11];
            const bool inside = y >= 0 && y < g[0] && z >= 0 && z < g[1];
            for (int i = 0; i < inputs; ++i)
                sum += (inside ? x[size_t(((image * g[0] + y) * g[1] + z) * channels + first + i)] : head.input_zero) * weight(group, o, tap, i);
        }
        const int shift = arrays[3 * n16 + o];
        const int64_t q = ((sum * arrays[2 * n16 + o] + (int64_t(1) << (shift - 1))) >> shift) + head.zero;
        if (got[at] != (q < -128 ? -128 : q > 127 ? 127 : q)) fail("conv", isa, groups, all, channels);
    }
    for (int64_t cut : {int64_t(0), int64_t(64), int64_t(layers.size()) * 4 - 4})
        if (!qk_conv_int8(layers.data(), cut, x.data(), 2, channels, g, got.data(), all, 1)) fail("a cut layer's refusal", isa, groups, all, channels);
}

// Entropy coders: what was written reads back; damaged bytes of any kind are read without harm.
static void check_streams() {
    std::vector<int32_t> squash;
    for (int d = -2559; d <= 2559; ++d) squash.push_back(int32_t(65536 / (1 + std::exp(-d / 256.0))));
    for (int round = 0; round < 60; ++round) {
        const int64_t rows = any(0, 20), columns = any(1, 30), width = any(1, 6), neighbor = any(0, 8), count = rows * columns;
        std::vector<int32_t> codes(size_t(count + 1)), back(codes);
        std::vector<int16_t> symbols(size_t(count + 1)), again(symbols);
        for (int64_t i = 0; i < count; ++i) codes[i] = any(0, 3) ? 0 : int32_t(any(1, (1 << width) - 1)), symbols[i] = int16_t(any(0, 3));
        const uint8_t lengths[4] = {1, 2, 3, 3};
        std::vector<uint8_t> context(size_t(8 * count + 64)), huffman(size_t(4 * count + 64));
        int64_t context_bytes = 0, huffman_bytes = 0;
        if (qk_context_encode(codes.data(), rows, columns, width, neighbor, squash.data(), context.data(), int64_t(context.size()), &context_bytes) ||
            qk_huffman_encode(symbols.data(), count, lengths, 4, huffman.data(), int64_t(huffman.size()), &huffman_bytes))
            fail("encoding", "entropy", int(rows), int(width), int(columns));
        context.resize(size_t(context_bytes)), context.shrink_to_fit(), huffman.resize(size_t(huffman_bytes)), huffman.shrink_to_fit();
        if (qk_context_decode(context.data(), context_bytes, rows, columns, width, neighbor, squash.data(), back.data()) || back != codes ||
            qk_huffman_decode(huffman.data(), huffman_bytes, lengths, 4, count, again.data(), 2) || again != symbols)
            fail("decoding", "entropy", int(rows), int(width), int(columns));
        for (int damage = 0; damage < 40; ++damage) {
            for (auto* stream : {&context, &huffman}) {
                if (!stream->empty()) (*stream)[size_t(any(0, int64_t(stream->size()) - 1))] ^= uint8_t(any(1, 255));
                if (!stream->empty() && !any(0, 9)) stream->pop_back(), stream->shrink_to_fit();
            }
            qk_context_decode(context.data(), int64_t(context.size()), rows, columns, width, neighbor, squash.data(), back.data());
            qk_huffman_decode(huffman.data(), int64_t(huffman.size()), lengths, 4, count, again.data(), 2);
        }
    }
}

// Images of 2 x 7 x 6 through a pooling of 3 x 2 and a linear layer; every header byte altered once.
static void check_plan(const std::string& isa) {
    constexpr int channels = 2, height = 7, width = 6, rows = 21, n = 5, inside = 2 * 2 * channels;
    const Sample last(1, n, inside, false);
    const int64_t start = sizeof(qk_plan_header) + 2 * sizeof(qk_stage);
    std::vector<int32_t> plan(size_t(start + last.bytes) / 4);
    const qk_plan_header head{QK_PLAN, 2, 3, 0.5f, channels, height, width, {}};
    const qk_stage stages[2] = {{start, 0, QK_MAX_POOL, 0, {3, 2}, {3, 3}, {0, 0}, {1, 1}, 1, 0}, {start, last.bytes, QK_LINEAR, 0, {}, {}, {}, {}, 0, 0}};
    std::memcpy(plan.data(), &head, sizeof head), std::memcpy(plan.data() + 16, stages, sizeof stages);
    std::memcpy(reinterpret_cast<char*>(plan.data()) + start, last.layer.data(), size_t(last.bytes));
    std::vector<float> x(rows * channels * height * width), y(rows * n);
    for (auto& value : x) value = float(any(-300, 300)) / 4;
    const auto run = [&](const std::vector<int32_t>& bytes, int threads) {
        return qk_plan(bytes.data(), int64_t(bytes.size()) * 4, x.data(), rows, channels * height * width, y.data(), n, threads);
    };
    for (int threads : {1, 3}) {
        if (run(plan, threads)) fail("status of a plan", isa, rows, n, inside);
        for (int row = 0; row < rows; ++row)
            for (int o = 0; o < n; ++o) {
                int32_t sum = last.bias[o];
                for (int i = 0; i < inside; ++i) {
                    const int channel = i % channels, top = i / channels / 2 * 3, left = i / channels % 2 * 3;
                    int most = -128;
                    for (int at = 0; at < 6; ++at) {
                        const float value = x[size_t(((row * channels + channel) * height + top + at / 2) * width + left + at % 2)];
                        const int code = int(std::nearbyint(value / 0.5f)) + 3;
                        most = std::max(most, code > 127 ? 127 : code);
                    }
                    sum = int32_t(uint32_t(sum) + uint32_t(most * last.w[size_t(o * inside + i)]));
                }
                const volatile float product = float(sum) * last.scale[o];
                if (y[size_t(row * n + o)] != product + last.real[o]) fail("plan", isa, row, o, inside);
            }
    }
    for (int64_t at = 0; at < start; ++at)
        for (int value : {0, 1, 127, 128, 255}) {
            auto altered = plan;
            reinterpret_cast<uint8_t*>(altered.data())[at] = uint8_t(value);
            run(altered, 1);
        }
}

int main() {
    check_streams();
    std::istringstream names(qk_isas());
    std::string isa;
    int checked = 0;
    const int shapes[][3] = {{1, 1, 1}, {1, 17, 3}, {2, 16, 4}, {3, 33, 5}, {7, 48, 64}, {8, 50, 31}, {13, 100, 66}, {60, 70, 129},
                             {50, 80, 300}, {1, 200, 1100}};
    while (names >> isa) {
        if (qk_use_isa(isa.c_str())) fail("choice", isa, 0, 0, 0);
        for (const auto& s : shapes)
            for (bool extreme : {false, true}) check(isa, s[0], s[1], s[2], extreme), ++checked;
        for (const auto& s : shapes)
            for (int one_in : {1, 3, 10, 1000}) check_tiles(isa, s[0], s[1], s[2], one_in);
        check_quantize(isa);
        for (const auto& c : {std::vector<int>{1, 3, 5}, {2, 3, 17}, {5, 4, 1}, {7, 1, 1}, {16, 1, 1}, {50, 1, 1}, {3, 1, 2}}) {
            check_conv(isa, c[0], c[1], c[2], {9, 14, 9, 14, 3, 3, 1, 1, 1, 1, 1, 1, c[0]});
            check_conv(isa, c[0], c[1], c[2], {11, 6, 6, 3, 5, 5, 2, 2, 2, 2, 1, 1, c[0]});
            check_conv(isa, c[0], c[1], c[2], {4, 5, 6, 4, 1, 2, 1, 1, 1, 0, 1, 1, c[0]});
            if (c[0] > 1 && c[1] == 1 && c[2] == 1) continue;  // depthwise
            check_conv(isa, c[0], c[1], c[2], {9, 14, 9, 14, 3, 3, 1, 1, 1, 1, 1, 1, c[0]}, true);
            check_conv(isa, c[0], c[1], c[2], {11, 6, 6, 3, 5, 5, 2, 2, 2, 2, 1, 1, c[0]}, true);
            check_conv(isa, c[0], c[1], c[2], {9, 8, 3, 8, 2, 3, 2, 1, 0, 2, 3, 2, c[0]}, true);
        }
        check_plan(isa);
        for (int bits : {2, 4})
            for (const auto& s : shapes) {
                qk_use_isa("scalar");
                const auto expected = groupwise(s[0], s[1], s[2], bits);
                qk_use_isa(isa.c_str());
                const auto got = groupwise(s[0], s[1], s[2], bits);
                if (std::memcmp(got.data(), expected.data(), got.size() * 4)) fail("groupwise", isa, s[0], s[1], s[2]);
            }
        for (const auto& s : shapes) {
            for (int bits : {1, 2, 4, 5}) check_real("table", isa, bits <= 2, [&] { return of_table(s[0], s[1], s[2], bits); });
            check_real("sparse", isa, false, [&] { return of_sparse(s[0], s[1], s[2]); });
            check_real("relative sparse", isa, false, [&] { return of_relative_sparse(s[0], s[1], s[2]); });
        }
        for (int m : {1, 9, 33, 70})  // several tiles each way
            for (int n : {256, 257, 700})
                for (int k : {128, 129, 300}) check_real("sparse", isa, false, [&] { return of_sparse(m, n, k); });
        for (int channels : {1, 31, 64, 70})
            for (int bits : {1, 2}) check_real("sign convolution", isa, true, [&] { return of_sign_conv(channels, channels + 3, bits); });
    }
    std::printf("%d layers agree on: %s\n", checked, qk_isas());
}
