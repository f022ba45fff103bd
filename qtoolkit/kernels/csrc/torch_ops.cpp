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

#include "qk.h"

namespace qk {
namespace {

using Handle = void*;          // of a tensor, or of a group of operators
using Stack = uint64_t*;       // arguments of a call, then its results; a tensor as its handle
using Boxed = void (*)(Stack, uint64_t, uint64_t);
using Kernel = int (*)(const void*, int64_t, const void*, int64_t, int64_t, void*, int64_t, int);

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
    int (*dtype)(Handle, int32_t*);
    int (*is_contiguous)(Handle, bool*);
    int (*empty_strided)(int64_t, const int64_t*, const int64_t*, int32_t, int32_t, int32_t, Handle*);
    int (*delete_tensor)(Handle);
    int (*num_threads)(uint32_t*);
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
           found(library, "aoti_torch_get_dtype", torch.dtype) &&
           found(library, "aoti_torch_is_contiguous", torch.is_contiguous) &&
           found(library, "aoti_torch_empty_strided", torch.empty_strided) &&
           found(library, "aoti_torch_delete_tensor_object", torch.delete_tensor) &&
           found(library, "torch_get_num_threads", torch.num_threads);
}

struct Tensor {  // a view of a tensor of the caller
    void* data = nullptr;
    int64_t numel = 0, dim = 0;
    int64_t* sizes = nullptr;
    int32_t dtype = -1;
    bool contiguous = false;

    explicit Tensor(Handle handle) {
        if (torch.data_ptr(handle, &data) || torch.numel(handle, &numel) || torch.dim(handle, &dim) || torch.sizes(handle, &sizes) ||
            torch.dtype(handle, &dtype) || torch.is_contiguous(handle, &contiguous)) dtype = -1;
    }
};

struct Operator {
    const char* name;
    Kernel kernel;
    int32_t from, to;     // dtypes of input and output
    bool flattens;        // all but the first axis of the input are one
};

template <class X, class Y>
int typed(int (*kernel)(const void*, int64_t, const X*, int64_t, int64_t, Y*, int64_t, int), const void* layer, int64_t bytes,
          const void* x, int64_t rows, int64_t k, void* out, int64_t n, int threads) {
    return kernel(layer, bytes, static_cast<const X*>(x), rows, k, static_cast<Y*>(out), n, threads);
}

template <auto F>  // a kernel of any dtypes, called through pointers without type
int generic(const void* layer, int64_t bytes, const void* x, int64_t rows, int64_t k, void* out, int64_t n, int threads) {
    return typed(F, layer, bytes, x, rows, k, out, n, threads);
}

const Operator kOperators[] = {
    {"int8_linear", generic<qk_linear_int8>, kInt8, kInt8, false},
    {"int8_linear_float", generic<qk_linear_float>, kInt8, kFloat32, false},
    {"int8_dynamic_linear", generic<qk_linear_dynamic>, kFloat32, kFloat32, false},
    {"groupwise_linear", generic<qk_groupwise>, kFloat32, kFloat32, false},
    {"table_linear", generic<qk_table>, kFloat32, kFloat32, false},
    {"sparse_linear", generic<qk_sparse>, kFloat32, kFloat32, false},
    {"relative_sparse_linear", generic<qk_relative_sparse>, kFloat32, kFloat32, false},
    {"int8_tile_sparse_linear", generic<qk_tile_sparse>, kInt8, kInt8, false},
    {"int8_plan", generic<qk_plan>, kFloat32, kFloat32, true},
};

// The result of the plain case; null if this is no plain case.
Handle plain(const Operator& op, Handle input, Handle bytes, int64_t outputs) {
    const Tensor x(input), layer(bytes);
    if (x.dtype != op.from || !x.contiguous || x.dim < 1 || x.dim > kMostDims || outputs < 1) return nullptr;
    if (layer.dtype != kUint8 || layer.dim != 1 || !layer.contiguous) return nullptr;
    int64_t sizes[kMostDims], strides[kMostDims], rows = 1, k = 1;
    const int64_t outer = op.flattens ? 1 : x.dim - 1;
    for (int64_t axis = 0; axis < outer; ++axis) rows *= sizes[axis] = x.sizes[axis];
    for (int64_t axis = outer; axis < x.dim; ++axis) k *= x.sizes[axis];
    sizes[outer] = outputs, strides[outer] = 1;
    for (int64_t axis = outer; axis-- > 0;) strides[axis] = strides[axis + 1] * (sizes[axis + 1] > 0 ? sizes[axis + 1] : 1);
    Handle result = nullptr;
    void* out = nullptr;
    uint32_t threads = 1;
    if (torch.empty_strided(outer + 1, sizes, strides, op.to, kCpu, 0, &result)) return nullptr;
    if (!torch.data_ptr(result, &out) && !torch.num_threads(&threads) &&
        op.kernel(layer.data, layer.numel, x.data, rows, k, out, outputs, int(threads)) == QK_OK) return result;
    torch.delete_tensor(result);
    return nullptr;
}

[[noreturn]] void rethrow(std::string text) {
    text.resize(std::min(text.size(), text.find("\n\nAt:\n")));  // where in Python it happened
    for (const char* kind : {"ValueError: ", "TypeError: "})
        if (!text.compare(0, std::strlen(kind), kind)) throw std::invalid_argument(text.substr(std::strlen(kind)));
    if (!text.compare(0, 11, "MemoryError")) throw std::bad_alloc();
    throw std::runtime_error(text);
}

void call(const Operator& op, Stack stack) {
    const auto input = reinterpret_cast<Handle>(stack[0]), layer = reinterpret_cast<Handle>(stack[1]);
    if (Handle result = plain(op, input, layer, int64_t(stack[2]))) {
        torch.delete_tensor(input), torch.delete_tensor(layer);  // a call owns its arguments
        stack[0] = reinterpret_cast<uint64_t>(result);
    } else if (torch.call_dispatcher((std::string("qtoolkit::_") + op.name).c_str(), "", stack)) {
        rethrow(torch.what());
    }
}

template <int I>
void boxed(Stack stack, uint64_t, uint64_t) {
    call(kOperators[I], stack);
}

const Boxed kBoxed[] = {boxed<0>, boxed<1>, boxed<2>, boxed<3>, boxed<4>, boxed<5>, boxed<6>, boxed<7>, boxed<8>};
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
