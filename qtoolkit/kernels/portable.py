"""The operators without a compiler: the same bytes in, the same bits out, through reference.py."""

from __future__ import annotations

import torch
from torch import Tensor

from qtoolkit.kernels import reference
from qtoolkit.kernels.layer import LayerCodes, unpack_layer, unpack_plan


def quantize_int8(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """q = clamp(round(x / S) + Z, -128, 127)."""
    return reference.quantize_int8(finite(x), torch.tensor(scale, dtype=torch.float32), zero_point)


def int8_linear(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    """int8 codes in, int8 codes out."""
    codes = _open(x, layer, out_features)
    return reference.int8_linear(x, codes.weight, codes.bias, codes.multiplier, codes.shift, codes.zero_point, codes.lowest,
                                 codes.highest)


def int8_linear_float(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    """int8 codes in, float32 out."""
    codes = _open(x, layer, out_features)
    return reference.int8_linear_float(x, codes.weight, codes.bias, codes.scale, codes.real_bias)


def int8_dynamic_linear(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    """float in, float out, int8 inside."""
    codes = _open(x, layer, out_features)
    return reference.int8_dynamic_linear(finite(x), codes.weight, codes.bias, codes.scale, codes.real_bias).to(x.dtype)


def int8_plan(x: Tensor, plan: Tensor, out_features: int) -> Tensor:
    """A chain of layers: quantize, int8 layers, float out."""
    layers, scale, zero_point = unpack_plan(plan)
    codes = quantize_int8(x.flatten(1), scale, zero_point)
    for layer in layers[:-1]:
        codes = int8_linear(codes, layer, unpack_layer(layer).weight.shape[0])
    return int8_linear_float(codes, layers[-1], out_features).to(x.dtype)


def _open(x: Tensor, layer: Tensor, out_features: int) -> LayerCodes:
    codes = unpack_layer(layer)
    if codes.weight.dim() != 2:
        raise ValueError(f"these are the bytes of a convolution of {codes.weight.shape[1]} taps, expected a linear layer")
    if (x.shape[-1], out_features) != (codes.weight.shape[1], codes.weight.shape[0]):
        raise ValueError(f"x has shape {tuple(x.shape)} and out_features is {out_features}, expected (..., "
                         f"{codes.weight.shape[1]}) and {codes.weight.shape[0]}: the sizes of this layer")
    return codes


def finite(x: Tensor) -> Tensor:
    """x, unless it holds NaN or infinity: then ValueError."""
    if not x.isfinite().all():
        raise ValueError("x holds NaN or infinity, expected finite values; remove or replace them first")
    return x


def real_op(reference_of, unpack):
    """A kernel from real inputs to real outputs in plain torch: `reference_of(x, unpack(layer))`, sizes checked."""

    def kernel(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
        codes = unpack(layer)
        if (x.shape[-1], out_features) != (codes.inputs, codes.outputs):
            raise ValueError(f"x has shape {tuple(x.shape)} and out_features is {out_features}, which does not fit a layer of (outputs, "
                             f"inputs) {(codes.outputs, codes.inputs)}")
        return reference_of(finite(x).to(torch.float32), codes).to(x.dtype)

    return kernel
