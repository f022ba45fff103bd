// The operators without Python on the way: torch calls the kernel itself, which saves several microseconds a call.
//
// torch keeps a stable C interface. Its functions are looked up by name in the library that Python has already loaded, so
// nothing of torch is needed to build this file, and a torch without them only means that the operators stay in Python.
// Here is the plain case alone: the right dtype, contiguous, sizes that fit. Everything else is handed to the operator's
// twin `_NAME`, its Python implementation, which converts what can be converted and says what is wrong with the rest. An
// error crosses the C interface as text, "ValueError: ..."; thrown again as std::invalid_argument, Python sees a ValueError.
#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels.h"

namespace qk {
namespace {

using Handle = void*;          // of a tensor, or of a group of operators
using Stack = uint64_t*;       // arguments of a call, then its results; a tensor as its handle
using Boxed = void (*)(Stack, uint64_t, uint64_t);
using RowsKernel = int (*)(const void*, int64_t, const void*, int64_t, int64_t, void*, int64_t, int);
using ImagesKernel = int (*)(const void*, int64_t, const void*, int64_t, int64_t, const int32_t*, void*, int64_t, int);

constexpr int32_t kUint8 = 0, kInt8 = 1, kFloat32 = 6, kCpu = 0;  // torch's numbers of dtypes and devices
constexpr int64_t kMostDims = 8;

struct Torch {  // the functions of the C interface that are used; each returns 0 if it went well
    int (*library_init_impl)(const char*, const char*, const char*, uint32_t, Handle*);
    int (*library_impl)(Handle, const char*, Boxed);
    int (*call_dispatcher)(const char*, const char*, Stack);
    const char* (*what)();
    int (*data_ptr)(Handle, void**);
    int (*numel)(Handle, int64_t*);
    int (*dim)(Handle, int64_t*);
    int (*sizes)(Handle, int64_t**);
    int (*strides)(Handle, int64_t**);
    int (*dtype)(Handle, int32_t*);
    int (*is_contiguous)(Handle, bool*);
    int (*empty_strided)(int64_t, const int64_t*, const int64_t*, int32_t, int32_t, int32_t, Handle*);
    int (*delete_tensor)(Handle);
    int (*num_threads)(uint32_t*);
    int (*list_size)(Handle, size_t*);
    int (*list_item)(Handle, size_t, uint64_t*);
    int (*delete_list)(Handle);
};
Torch torch;

template <class F>
bool found(void* library, const char* name, F& function) {
    return (function = reinterpret_cast<F>(dlsym(library, name))) != nullptr;
}

bool open_torch(void* library) {
    return library && found(library, "aoti_torch_library_init_impl", torch.library_init_impl) &&
           found(library, "aoti_torch_library_impl", torch.library_impl) &&
           found(library, "aoti_torch_call_dispatcher", torch.call_dispatcher) &&
           found(library, "torch_exception_get_what_without_backtrace", torch.what) &&
           found(library, "aoti_torch_get_data_ptr", torch.data_ptr) && found(library, "aoti_torch_get_numel", torch.numel) &&
           found(library, "aoti_torch_get_dim", torch.dim) && found(library, "aoti_torch_get_sizes", torch.sizes) &&
           found(library, "aoti_torch_get_strides", torch.strides) && found(library, "aoti_torch_get_dtype", torch.dtype) &&
           found(library, "aoti_torch_is_contiguous", torch.is_contiguous) &&
           found(library, "aoti_torch_empty_strided", torch.empty_strided) &&
           found(library, "aoti_torch_delete_tensor_object", torch.delete_tensor) &&
           found(library, "torch_get_num_threads", torch.num_threads) && found(library, "torch_list_size", torch.list_size) &&
           found(library, "torch_list_get_item", torch.list_item) && found(library, "torch_delete_list", torch.delete_list);
}

struct Tensor {  // a view of a tensor of the caller
    void* data = nullptr;
    int64_t numel = 0, dim = 0;
    int64_t *sizes = nullptr, *strides = nullptr;
    int32_t dtype = -1;
    bool contiguous = false;

    explicit Tensor(Handle handle) {
        if (torch.data_ptr(handle, &data) || torch.numel(handle, &numel) || torch.dim(handle, &dim) || torch.sizes(handle, &sizes) ||
            torch.strides(handle, &strides) || torch.dtype(handle, &dtype) || torch.is_contiguous(handle, &contiguous)) dtype = -1;
    }

    bool is_layer() const { return dtype == kUint8 && dim == 1 && contiguous; }

    bool channels_last() const {  // images whose channels lie together
        if (dim != 4 || numel < 1) return false;
        const int64_t row = sizes[3] * sizes[1], expected[4] = {sizes[2] * row, 1, row, sizes[1]};
        for (int axis = 0; axis < 4; ++axis)
            if (sizes[axis] > 1 && strides[axis] != expected[axis]) return false;
        return true;
    }
};

struct Operator {
    const char* name;
    int32_t from, to;  // dtypes of input and output
    enum Input { kRows, kFlattened, kImages, kNumbers } input;  // kFlattened: all but the first axis are one; kNumbers: no layer
    RowsKernel rows;
    ImagesKernel images;
};

template <class X, class Y>  // kernels of any dtypes, called through pointers without type
int typed(int (*kernel)(const void*, int64_t, const X*, int64_t, int64_t, Y*, int64_t, int), const void* layer, int64_t bytes,
          const void* x, int64_t rows, int64_t k, void* out, int64_t n, int threads) {
    return kernel(layer, bytes, static_cast<const X*>(x), rows, k, static_cast<Y*>(out), n, threads);
}

template <class X, class Y>
int typed(int (*kernel)(const void*, int64_t, const X*, int64_t, int64_t, const int32_t*, Y*, int64_t, int), const void* layer,
          int64_t bytes, const void* x, int64_t images, int64_t channels, const int32_t* geometry, void* out, int64_t n, int threads) {
    return kernel(layer, bytes, static_cast<const X*>(x), images, channels, geometry, static_cast<Y*>(out), n, threads);
}

template <auto F>
int rows(const void* layer, int64_t bytes, const void* x, int64_t rows, int64_t k, void* out, int64_t n, int threads) {
    return typed(F, layer, bytes, x, rows, k, out, n, threads);
}

template <auto F>
int images(const void* layer, int64_t bytes, const void* x, int64_t images, int64_t channels, const int32_t* geometry, void* out,
           int64_t n, int threads) {
    return typed(F, layer, bytes, x, images, channels, geometry, out, n, threads);
}

const Operator kOperators[] = {
    {"int8_linear", kInt8, kInt8, Operator::kRows, rows<qk_linear_int8>, nullptr},
    {"int8_linear_float", kInt8, kFloat32, Operator::kRows, rows<qk_linear_float>, nullptr},
    {"int8_dynamic_linear", kFloat32, kFloat32, Operator::kRows, rows<qk_linear_dynamic>, nullptr},
    {"groupwise_linear", kFloat32, kFloat32, Operator::kRows, rows<qk_groupwise>, nullptr},
    {"table_linear", kFloat32, kFloat32, Operator::kRows, rows<qk_table>, nullptr},
    {"sparse_linear", kFloat32, kFloat32, Operator::kRows, rows<qk_sparse>, nullptr},
    {"relative_sparse_linear", kFloat32, kFloat32, Operator::kRows, rows<qk_relative_sparse>, nullptr},
    {"int8_tile_sparse_linear", kInt8, kInt8, Operator::kRows, rows<qk_tile_sparse>, nullptr},
    {"int8_plan", kFloat32, kFloat32, Operator::kFlattened, rows<qk_plan>, nullptr},
    {"int8_conv2d", kInt8, kInt8, Operator::kImages, nullptr, images<qk_conv_int8>},
    {"binary_conv2d", kFloat32, kFloat32, Operator::kImages, nullptr, images<qk_table_conv>},
    {"quantize_int8", kFloat32, kInt8, Operator::kNumbers, nullptr, nullptr},
};

// A fresh tensor of these sizes, filled by `compute(out, threads)`; null if that fails.
template <class Compute>
Handle result_of(int64_t dim, const int64_t* sizes, const int64_t* strides, int32_t dtype, Compute compute) {
    Handle result = nullptr;
    void* out = nullptr;
    uint32_t threads = 1;
    if (torch.empty_strided(dim, sizes, strides, dtype, kCpu, 0, &result)) return nullptr;
    if (!torch.data_ptr(result, &out) && !torch.num_threads(&threads) && compute(out, int(threads)) == QK_OK) return result;
    torch.delete_tensor(result);
    return nullptr;
}

void contiguous_strides(int64_t dim, const int64_t* sizes, int64_t* strides) {
    for (int64_t axis = dim, step = 1; axis-- > 0; step *= sizes[axis] > 0 ? sizes[axis] : 1) strides[axis] = step;
}

// The result of the plain case; null if this is no plain case. `outputs` is the third argument.
Handle plain_rows(const Operator& op, const Tensor& x, const Tensor& layer, int64_t outputs) {
    if (!x.contiguous || x.dim < 1 || x.dim > kMostDims) return nullptr;
    int64_t sizes[kMostDims], strides[kMostDims], rows = 1, k = 1;
    const int64_t outer = op.input == Operator::kFlattened ? 1 : x.dim - 1;
    for (int64_t axis = 0; axis < outer; ++axis) rows *= sizes[axis] = x.sizes[axis];
    for (int64_t axis = outer; axis < x.dim; ++axis) k *= x.sizes[axis];
    sizes[outer] = outputs;
    contiguous_strides(outer + 1, sizes, strides);
    return result_of(outer + 1, sizes, strides, op.to, [&](void* out, int threads) {
        return op.rows(layer.data, layer.numel, x.data, rows, k, out, outputs, threads);
    });
}

// Every number by itself becomes its code.
Handle plain_codes(const Operator& op, const Tensor& x, double scale, int64_t zero) {
    int64_t strides[kMostDims];
    if (!x.contiguous || x.dim > kMostDims || !(scale > 1e-38 && scale < 1e38) || zero < -128 || zero > 127) return nullptr;
    contiguous_strides(x.dim, x.sizes, strides);
    return result_of(x.dim, x.sizes, strides, op.to, [&](void* out, int threads) {
        return qk_quantize(static_cast<const float*>(x.data), x.numel, float(scale), int32_t(zero), static_cast<int8_t*>(out), threads);
    });
}

bool pair_of(Handle list, int32_t* pair) {
    size_t size = 0;
    uint64_t item[2];
    if (torch.list_size(list, &size) || size != 2) return false;
    for (int i = 0; i < 2; ++i) {
        if (torch.list_item(list, i, item + i) || int64_t(item[i]) < 0 || int64_t(item[i]) > kMostPixels) return false;
        pair[i] = int32_t(item[i]);
    }
    return true;
}

// `geometry`: the lists kernel, stride, padding and dilation
Handle plain_images(const Operator& op, const Tensor& x, const Tensor& layer, int64_t outputs, const uint64_t* geometry, int64_t groups) {
    if (!x.channels_last() || std::max({outputs, x.sizes[2], x.sizes[3], groups}) > kMostPixels || groups < 1) return nullptr;
    Conv conv{int32_t(x.sizes[2]), int32_t(x.sizes[3]), 0, 0, {}, {}, {}, {}, int32_t(groups)};
    int32_t* const pairs[4] = {conv.kernel, conv.stride, conv.padding, conv.dilation};
    for (int i = 0; i < 4; ++i)
        if (!pair_of(reinterpret_cast<Handle>(geometry[i]), pairs[i])) return nullptr;
    if (!find_output_size(conv)) return nullptr;
    const int64_t row = conv.out_width * outputs, sizes[4] = {x.sizes[0], outputs, conv.out_height, conv.out_width};
    const int64_t strides[4] = {conv.out_height * row, 1, row, outputs};
    return result_of(4, sizes, strides, op.to, [&](void* out, int threads) {
        return op.images(layer.data, layer.numel, x.data, x.sizes[0], x.sizes[1], &conv.height, out, outputs, threads);
    });
}

[[noreturn]] void rethrow(std::string text) {
    text.resize(std::min(text.size(), text.find("\n\nAt:\n")));  // where in Python it happened
    for (const char* kind : {"ValueError: ", "TypeError: "})
        if (!text.compare(0, std::strlen(kind), kind)) throw std::invalid_argument(text.substr(std::strlen(kind)));
    if (!text.compare(0, 11, "MemoryError")) throw std::bad_alloc();
    throw std::runtime_error(text);
}

Handle plain(const Operator& op, const Tensor& x, const uint64_t* stack, uint64_t arguments) {
    if (x.dtype != op.from) return nullptr;
    if (op.input == Operator::kNumbers) {
        double scale;
        std::memcpy(&scale, stack + 1, sizeof scale);
        return plain_codes(op, x, scale, int64_t(stack[2]));
    }
    const Tensor layer(reinterpret_cast<Handle>(stack[1]));
    const int64_t outputs = int64_t(stack[2]);
    if (!layer.is_layer() || outputs < 1) return nullptr;
    if (op.input != Operator::kImages) return plain_rows(op, x, layer, outputs);
    return plain_images(op, x, layer, outputs, stack + 3, arguments > 7 ? int64_t(stack[7]) : 1);
}

void call(const Operator& op, Stack stack, uint64_t arguments) {
    const auto handle = [=](int i) { return reinterpret_cast<Handle>(stack[i]); };
    if (const Handle result = plain(op, Tensor(handle(0)), stack, arguments)) {
        torch.delete_tensor(handle(0));  // a call owns its arguments
        if (op.input != Operator::kNumbers) torch.delete_tensor(handle(1));
        for (int i = 3; op.input == Operator::kImages && i < 7; ++i) torch.delete_list(handle(i));
        stack[0] = reinterpret_cast<uint64_t>(result);
    } else if (torch.call_dispatcher((std::string("qtoolkit::_") + op.name).c_str(), "", stack)) {
        rethrow(torch.what());
    }
}

template <int I>
void boxed(Stack stack, uint64_t arguments, uint64_t) {
    call(kOperators[I], stack, arguments);
}

const Boxed kBoxed[] = {boxed<0>, boxed<1>, boxed<2>, boxed<3>, boxed<4>, boxed<5>,
                        boxed<6>, boxed<7>, boxed<8>, boxed<9>, boxed<10>, boxed<11>};
static_assert(sizeof kBoxed / sizeof *kBoxed == sizeof kOperators / sizeof *kOperators, "one function for each operator");

}  // namespace
}  // namespace qk

using namespace qk;

int qk_torch_operator(void* torch_library, const char* name) {
    static const bool open = open_torch(torch_library);
    for (size_t i = 0; open && i < sizeof kOperators / sizeof *kOperators; ++i) {
        Handle group = nullptr;
        if (!std::strcmp(kOperators[i].name, name))
            return torch.library_init_impl("qtoolkit", "CPU", __FILE__, __LINE__, &group) || torch.library_impl(group, name, kBoxed[i]);
    }
    return 1;
}
