// A whole integer network in one call: quantize the real input, run int8 stage after int8 stage, end in real numbers.
//
// At batch 1 a small network is all overhead: LeNet-300-100 is 266,200 multiply-adds, about a microsecond of VNNI, while a
// single call from Python costs two to four. The plan is one block of bytes (qk.h): a header, a description of each stage
// (linear layer, convolution or max-pooling), the layers. Convolutions and poolings run image by image, so that an image's
// codes stay in the nearest cache; the linear layers after them run for a band of images at once, so that a weight, once
// loaded, serves them all. Bands are shared out among threads and go through *all* stages on one of them: one synchronization
// a call instead of one a stage. A single band uses the threads inside each stage instead. Max-pooling picks among codes:
// rounding keeps the order of numbers, so the largest code is the code of the largest number.
#include <atomic>
#include <cstring>

#include "kernels.h"
#include "pool.h"

namespace qk {
namespace {

constexpr int kMostStages = 64;
constexpr int64_t kMostCodes = 1 << 26;  // of an image between two stages

struct Images {
    int32_t channels, height, width;
    int64_t pixels() const { return int64_t(height) * width; }
    int64_t codes() const { return pixels() * channels; }
    bool fit() const { return channels > 0 && height > 0 && width > 0 && pixels() <= kMostCodes && codes() <= kMostCodes; }
};

struct Stage {
    qk_kind kind;
    Layer layer;         // of a linear stage
    Conv conv;           // of the two others
    const char* bytes;   // of a convolution: its layers, one for each group
    int64_t size;
    Images in, out;
};

struct Plan {
    int stages, imaged;  // all, and those up to the last that is not linear
    int32_t zero;
    float scale;
    Images in;
    int64_t widest, row_widest;  // codes between two stages: of an image, of a row in the linear layers at the end
    Stage stage[kMostStages];
};

int run_convolution(const Stage& stage, const int8_t* x, int64_t images, int8_t* out, int threads) {
    return qk_conv_int8(stage.bytes, stage.size, x, images, stage.in.channels, &stage.conv.height, out, stage.out.channels, threads);
}

// Set the output size of a convolution or pooling, or refuse its geometry.
bool slide(const qk_stage& from, Stage& stage) {
    Conv& conv = stage.conv;
    conv.height = stage.in.height, conv.width = stage.in.width, conv.groups = from.groups;
    for (int i = 0; i < 2; ++i)
        conv.kernel[i] = from.kernel[i], conv.stride[i] = from.stride[i], conv.padding[i] = from.padding[i], conv.dilation[i] = from.dilation[i];
    if (!find_output_size(conv)) return false;
    stage.out = {stage.in.channels, conv.out_height, conv.out_width};
    return true;
}

bool open_stage(const qk_stage& from, const char* plan, int64_t size, Stage& stage) {
    stage.kind = qk_kind(from.kind);
    if (from.from < 0 || from.bytes < 0 || from.from > size || from.bytes > size - from.from) return false;
    stage.bytes = plan + from.from, stage.size = from.bytes;
    switch (from.kind) {
        case QK_LINEAR:
            if (!open_layer(stage.bytes, stage.size, stage.layer) || stage.layer.taps != 1 || stage.layer.inputs != stage.in.codes()) return false;
            stage.out = {stage.layer.outputs, 1, 1};
            return true;
        case QK_CONVOLUTION:
            if (!slide(from, stage)) return false;
            stage.out.channels = from.channels;
            return stage.out.fit() && !run_convolution(stage, nullptr, 0, nullptr, 1);  // no images: checks alone
        case QK_MAX_POOL:
            return slide(from, stage) && !from.padding[0] && !from.padding[1] && from.dilation[0] == 1 && from.dilation[1] == 1;
        default:
            return false;
    }
}

bool open_plan(const void* bytes, int64_t size, Plan& plan) {
    qk_plan_header head;
    if (!bytes || size < int64_t(sizeof head)) return false;
    std::memcpy(&head, bytes, sizeof head);
    if (head.magic != QK_PLAN || head.stages < 1 || head.stages > kMostStages || !(head.scale > 0)) return false;
    if (head.zero < -128 || head.zero > 127 || size < int64_t(sizeof head + head.stages * sizeof(qk_stage))) return false;
    plan.stages = head.stages, plan.zero = head.zero, plan.scale = head.scale, plan.imaged = 0;
    plan.in = {head.channels, head.height, head.width};
    if (!plan.in.fit()) return false;
    const char* base = static_cast<const char*>(bytes);
    Images images = plan.in;
    plan.widest = images.codes();
    for (int i = 0; i < head.stages; ++i) {
        qk_stage from;
        std::memcpy(&from, base + sizeof head + i * sizeof from, sizeof from);
        plan.stage[i].in = images;
        if (!open_stage(from, base, size, plan.stage[i])) return false;
        images = plan.stage[i].out;
        if (!images.fit()) return false;
        if (from.kind != QK_LINEAR) plan.imaged = i + 1;
        if (images.codes() > plan.widest) plan.widest = images.codes();
    }
    plan.row_widest = 0;
    for (int i = plan.imaged; i < plan.stages; ++i)
        if (plan.stage[i].out.codes() > plan.row_widest) plan.row_widest = plan.stage[i].out.codes();
    return plan.imaged < plan.stages;  // the last stage, whose output is real, is linear
}

int run_stage(const Stage& stage, const int8_t* from, int64_t rows, int8_t* to, int threads) {
    switch (stage.kind) {
        case QK_LINEAR: return run_linear_int8(stage.layer, from, rows, to, threads);
        case QK_CONVOLUTION: return run_convolution(stage, from, rows, to, threads);
        default:
            for (int64_t row = 0; row < rows; ++row)
                kernels().max_pool(from + row * stage.in.codes(), stage.conv, stage.in.channels, to + row * stage.out.codes());
            return QK_OK;
    }
}

bool together(const Images& images) { return images.channels == 1 || images.pixels() == 1; }  // in either order

// The codes of an image, channels of a pixel together, from reals that lie plane by plane; `planes` is room for as many codes.
bool encode_image(const Plan& plan, const float* x, int8_t* planes, int8_t* out) {
    const int64_t pixels = plan.in.pixels();
    if (!kernels().quantize(x, plan.in.codes(), plan.scale, plan.zero, together(plan.in) ? out : planes)) return false;
    if (!together(plan.in))
        for (int64_t pixel = 0; pixel < pixels; ++pixel)
            for (int channel = 0; channel < plan.in.channels; ++channel) *out++ = planes[channel * pixels + pixel];
    return true;
}

// What the linear layers at the end take, for each row: its codes, or those of its image after convolution and pooling.
int reach_rows(const Plan& plan, const float* x, int64_t rows, int8_t* out, int threads) {
    const int64_t k = plan.in.codes();
    if (!plan.imaged && together(plan.in)) return kernels().quantize(x, rows * k, plan.scale, plan.zero, out) ? QK_OK : QK_NOT_FINITE;
    auto* from = static_cast<int8_t*>(scratch(kFrom, plan.widest));
    auto* to = static_cast<int8_t*>(scratch(kTo, plan.widest));
    if (!from || !to) return QK_NO_MEMORY;
    const int64_t reached = plan.stage[plan.imaged].in.codes();
    for (int64_t row = 0; row < rows; ++row) {
        int8_t *at = plan.imaged ? from : out + row * reached, *next = to;
        if (!encode_image(plan, x + row * k, next, at)) return QK_NOT_FINITE;
        for (int i = 0; i < plan.imaged; ++i) {
            int8_t* target = i + 1 < plan.imaged ? next : out + row * reached;
            if (const int wrong = run_stage(plan.stage[i], at, 1, target, threads)) return wrong;
            next = at, at = target;
        }
    }
    return QK_OK;
}

int run_rows(const Plan& plan, const float* x, int64_t rows, float* out, int threads) {
    auto* codes = static_cast<int8_t*>(scratch(kRowCodes, rows * plan.stage[plan.imaged].in.codes()));
    if (!codes) return QK_NO_MEMORY;
    if (const int wrong = reach_rows(plan, x, rows, codes, threads)) return wrong;
    auto* from = static_cast<int8_t*>(scratch(kFrom, rows * plan.row_widest));
    auto* to = static_cast<int8_t*>(scratch(kTo, rows * plan.row_widest));
    if (!from || !to) return QK_NO_MEMORY;
    for (int i = plan.imaged; i + 1 < plan.stages; ++i) {
        if (const int wrong = run_stage(plan.stage[i], codes, rows, to, threads)) return wrong;
        int8_t* swap = from;
        codes = from = to, to = swap;
    }
    return run_linear_float(plan.stage[plan.stages - 1].layer, codes, nullptr, rows, out, threads);
}

}  // namespace
}  // namespace qk

using namespace qk;

int qk_plan(const void* bytes, int64_t size, const float* x, int64_t rows, int64_t k, float* out, int64_t n, int threads) {
    Plan plan;
    if (!open_plan(bytes, size, plan)) return QK_BAD_LAYER;
    if (rows < 0 || k != plan.in.codes() || n != plan.stage[plan.stages - 1].layer.outputs) return QK_BAD_SHAPE;
    if (!rows) return QK_OK;
    const int64_t band = plan.imaged ? 8 : 24;  // rows of one task: full tiles of the linear layers
    const int64_t bands = (rows + band - 1) / band;
    if (bands == 1 || threads <= 1) {
        for (int64_t row = 0; row < rows; row += 4 * band) {  // as many rows at a time as keep their codes in the second-level cache
            const int64_t many = rows - row < 4 * band ? rows - row : 4 * band;
            const int wrong = run_rows(plan, x + row * k, many, out + row * n, threads);
            if (wrong) return wrong;
        }
        return QK_OK;
    }
    std::atomic<int> wrong{QK_OK};
    parallel_for(bands, threads, [&](int64_t task) {
        const int64_t row = task * band, many = rows - row < band ? rows - row : band;
        const int status = run_rows(plan, x + row * k, many, out + row * n, 1);
        if (status) wrong = status;
    });
    return wrong;
}
