"""The torch operators of this package: torch.ops.qtoolkit.NAME, usable in eager mode, torch.compile and torch.export.

    quantize_int8(x, scale, zero_point)              float -> int8         q = clamp(round(x / S) + Z, -128, 127)
    int8_linear(x, layer, out_features)              int8  -> int8         requantized, clamped
    int8_linear_float(x, layer, out_features)        int8  -> float32      y = a S + b
    int8_dynamic_linear(x, layer, out_features)      float -> float        each row quantized with its own scale on the way in
    int8_plan(x, plan, out_features)                 float -> float32      a whole chain of layers in one call

x is (..., K), the result (..., out_features); int8_plan flattens all but the first axis. `layer` is the bytes from
`layer.pack_layer`, `plan` those from `layer.pack_plan`; `out_features` repeats what they say, for shape inference without data.
They are for inference: no gradient flows through them. Wrong dtypes, sizes that do not fit, bytes that are not a layer, NaN and
infinity raise ValueError. What each computes is written in reference.py, which they meet bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qtoolkit.kernels import native, portable
from qtoolkit.kernels._lib import bind
from qtoolkit.kernels._lib import library as _library
from qtoolkit.kernels.layer import as_bytes

_kernels = portable if _library is None else native

_torch_library = torch.library.Library("qtoolkit", "DEF")


def check_int8(x: Tensor, layer: Tensor, out_features: int) -> None:
    if x.dtype is not torch.int8:
        raise ValueError(f"x has dtype {x.dtype}, expected int8 codes; use torch.ops.qtoolkit.quantize_int8 first")
    _check_sizes(x, layer, out_features)


def check_float(x: Tensor, layer: Tensor, out_features: int) -> None:
    if not x.dtype.is_floating_point:
        raise ValueError(f"x has dtype {x.dtype}, expected a floating-point dtype; convert it with x.float()")
    _check_sizes(x, layer, out_features)


def _check_sizes(x: Tensor, layer: Tensor, out_features: int) -> None:
    if x.dim() == 0:
        raise ValueError("x has no axis, expected shape (..., inputs)")
    if out_features < 1:
        raise ValueError(f"out_features is {out_features}, expected the number of outputs of the layer")
    as_bytes(layer)


def _check_quantize(x: Tensor, scale: float, zero_point: int) -> None:
    if not x.dtype.is_floating_point:
        raise ValueError(f"x has dtype {x.dtype}, expected a floating-point dtype; convert it with x.float()")
    if not 1e-38 < scale < 1e38:
        raise ValueError(f"scale is {scale}, expected a positive finite float32")
    if not -128 <= zero_point <= 127:
        raise ValueError(f"zero_point is {zero_point}, expected a code in -128..127")


def linear_shape(dtype: torch.dtype | None):
    """The shape rule of a linear operator; dtype None keeps the dtype of x."""
    return lambda x, layer, out_features: x.new_empty((*x.shape[:-1], out_features), dtype=dtype or x.dtype)


def _plan_shape(x: Tensor, plan: Tensor, out_features: int) -> Tensor:
    return x.new_empty((x.shape[0], out_features))


def _codes_shape(x: Tensor, scale: float, zero_point: int) -> Tensor:
    return torch.empty(x.shape, dtype=torch.int8, device=x.device)


def register(signature: str, kernel, check, shape):
    """One operator: its schema, its kernel behind the check of its arguments, and its shape rule for tracing; returns it.

    Where the compiled library can serve torch directly, this kernel becomes the twin `_NAME`, for all that is not the plain case.
    """
    name = signature.split("(")[0]

    def checked(*arguments):
        check(*arguments)
        return kernel(*arguments)

    def traced(*arguments):
        check(*arguments)
        return shape(*arguments)

    _torch_library.define(signature)
    twin = "_" if bind(name) else ""
    if twin:
        _torch_library.define(twin + signature)
    _torch_library.impl(twin + name, checked, "CPU")
    torch.library.register_fake(f"qtoolkit::{name}", traced, lib=_torch_library)
    return getattr(torch.ops.qtoolkit, name).default


_OF_LAYER = "(Tensor x, Tensor layer, SymInt out_features) -> Tensor"
quantize_int8 = register("quantize_int8(Tensor x, float scale, int zero_point) -> Tensor", _kernels.quantize_int8, _check_quantize,
                         _codes_shape)
int8_linear = register(f"int8_linear{_OF_LAYER}", _kernels.int8_linear, check_int8, linear_shape(torch.int8))
int8_linear_float = register(f"int8_linear_float{_OF_LAYER}", _kernels.int8_linear_float, check_int8, linear_shape(torch.float32))
int8_dynamic_linear = register(f"int8_dynamic_linear{_OF_LAYER}", _kernels.int8_dynamic_linear, check_float, linear_shape(None))
int8_plan = register(f"int8_plan{_OF_LAYER}", _kernels.int8_plan, check_float, _plan_shape)
