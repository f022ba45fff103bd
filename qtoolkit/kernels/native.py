"""The operators through the compiled library: allocate the output, hand over addresses, turn a status into an error.

Where torch_ops.cpp serves the plain case, this is the way of all others: it converts, and it says what is wrong.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import unpack_layer
from qtoolkit.kernels.plan import unpack_plan

_NOT_FINITE, _NO_MEMORY = 3, 4
_FLOAT = torch.float32
_threads = torch.get_num_threads


def quantize_int8(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """q = clamp(round(x / S) + Z, -128, 127)."""
    x = x.to(torch.float32).contiguous()
    out = torch.empty(x.shape, dtype=torch.int8)
    status = library.qk_quantize(x.data_ptr(), x.numel(), scale, zero_point, out.data_ptr(), _threads())
    if status:
        _fail(status, x, 0, list)
    return out


def int8_linear(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    """int8 codes in, int8 codes out."""
    return linear(library.qk_linear_int8, x, layer, out_features, torch.int8)


def int8_linear_float(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    """int8 codes in, float32 out."""
    return linear(library.qk_linear_float, x, layer, out_features, torch.float32)


def int8_dynamic_linear(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    """float in, float out, int8 inside."""
    if x.dtype is not _FLOAT:
        return int8_dynamic_linear(x.to(torch.float32), layer, out_features).to(x.dtype)
    return linear(library.qk_linear_dynamic, x, layer, out_features, torch.float32)


def int8_plan(x: Tensor, plan: Tensor, out_features: int) -> Tensor:
    """A whole network: quantize, int8 stages, float out."""
    if x.dtype is not _FLOAT:
        return int8_plan(x.to(torch.float32), plan, out_features).to(x.dtype)
    if not x.is_contiguous():
        x = x.contiguous()
    rows = x.size(0)
    k = x.numel() // rows if rows else prod(x.shape[1:])
    out = x.new_empty(rows, out_features)
    status = library.qk_plan(plan.data_ptr(), plan.numel(), x.data_ptr(), rows, k, out.data_ptr(), out_features, _threads())
    if status:
        _fail(status, x, out_features, lambda: unpack_plan(plan).sizes)
    return out


def linear(function, x: Tensor, layer: Tensor, out_features: int, dtype: torch.dtype, sizes=None) -> Tensor:
    """Call a C function of the common form; `sizes()` reads [(N, K), ...] from the bytes, or raises, once something is wrong."""
    if not x.is_contiguous():
        x = x.contiguous()
    *outer, k = x.shape
    out = x.new_empty(*outer, out_features) if x.dtype is dtype else x.new_empty(*outer, out_features, dtype=dtype)
    status = function(layer.data_ptr(), layer.numel(), x.data_ptr(), x.numel() // k if k else 0, k, out.data_ptr(), out_features,
                      _threads())
    if status:
        _fail(status, x, out_features, sizes or (lambda: [_sizes(layer)]))
    return out


def _sizes(layer: Tensor) -> tuple[int, ...]:
    return tuple(unpack_layer(layer).weight.shape)


def _fail(status: int, x: Tensor, out_features: int, sizes) -> None:
    """Raise what the status means. The slow way to find out exactly what is wrong is fine here."""
    if status == _NOT_FINITE:
        raise ValueError("x holds NaN or infinity, expected finite values; remove or replace them first")
    if status == _NO_MEMORY:
        raise MemoryError(f"no memory for the int8 copy of x, shape {tuple(x.shape)}; use smaller batches")
    raise ValueError(f"x has shape {tuple(x.shape)} and out_features is {out_features}, which does not fit layers of (outputs, "
                     f"inputs) {sizes()}; bytes must start at a multiple of 4 (layer.clone() does)")


def real_op(function, sizes):
    """A kernel from real inputs to real outputs of the same dtype; `sizes(layer)` reads (N, K) from the bytes, or raises."""

    def kernel(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
        if x.dtype is not torch.float32:
            return kernel(x.to(torch.float32), layer, out_features).to(x.dtype)
        return linear(function, x, layer, out_features, torch.float32, lambda: [sizes(layer)])

    return kernel
