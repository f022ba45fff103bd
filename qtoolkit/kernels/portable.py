"""The operators without a compiler: the same bytes in, the same bits out, through reference.py."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from qtoolkit.kernels import reference
from qtoolkit.kernels.conv_layer import conv_codes, is_depthwise
from qtoolkit.kernels.layer import LayerCodes, unpack_layer
from qtoolkit.kernels.plan import Convolution, MaxPool, Stage, unpack_plan


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
    """A whole network: quantize, int8 stages, float out."""
    opened = unpack_plan(plan)
    if x.numel() != len(x) * prod(opened.image):
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (rows, ...) with (channels, height, width) = {opened.image} in each row")
    codes = quantize_int8(x, opened.scale, opened.zero_point).reshape(-1, *opened.image)
    for stage in opened.stages[:-1]:
        codes = _run(stage, codes)
    return int8_linear_float(_rows(codes), opened.stages[-1], out_features).to(x.dtype)


def _run(stage: Stage, codes: Tensor) -> Tensor:
    """Images (N, C, H, W) of int8 codes through one stage; a linear layer makes them images of one pixel."""
    if isinstance(stage, Convolution):
        return int8_conv2d(codes, stage.layer, stage.out_channels, stage.kernel, stage.stride, stage.padding, stage.dilation, stage.groups)
    if isinstance(stage, MaxPool):
        return F.max_pool2d(codes.float(), stage.kernel, stage.stride).to(torch.int8)
    return int8_linear(_rows(codes), stage, unpack_layer(stage).weight.shape[0])[:, :, None, None]


def _rows(codes: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H W C), the order in which a linear layer of a plan takes them."""
    return codes.permute(0, 2, 3, 1).flatten(1)


def int8_conv2d(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int],
                dilation: list[int], groups: int = 1) -> Tensor:
    """The definition in plain torch: float64 holds every integer of the sum exactly."""
    each = conv_codes(x.shape[1], layer, out_channels, kernel, groups)
    channels = x.shape[1] // groups
    if is_depthwise(x.shape[1], out_channels, groups):
        weight = each[0].weight.reshape(out_channels, 1, *kernel)
    else:
        weight = torch.cat([codes.weight.reshape(-1, *kernel, channels).permute(0, 3, 1, 2) for codes in each])
    bias, multiplier, shift = (torch.cat([getattr(codes, name) for codes in each]) for name in ("bias", "multiplier", "shift"))
    padded = F.pad(x.double(), (padding[1], padding[1], padding[0], padding[0]), value=float(each[0].input_zero_point))
    sums = F.conv2d(padded, weight.double(), stride=stride, dilation=dilation, groups=groups).to(torch.int64).movedim(1, -1) + bias
    q = reference.requantize(sums, multiplier, shift, each[0].zero_point, each[0].lowest, each[0].highest)
    return q.movedim(-1, 1).contiguous(memory_format=torch.channels_last)


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
