"""int8 convolution: torch.ops.qtoolkit.int8_conv2d(x, layer, out_channels, kernel, stride, padding, dilation, groups=1).

    q_y = clamp( requantize( sum_taps sum_c q_x q_w + bias ) + Z_y )         padding stands for the real 0: it has the code Z_x

x is int8 (images, channels, height, width); so is the result, in channels-last memory, in which the kernel works (an x in
another memory format is copied first). `layer` comes from `pack_conv` with the same `groups`: as many layers one after another,
or, for depthwise convolution (1 < groups = channels = out_channels), one layer whose inputs are the taps.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.conv_layer import conv_codes, pack_conv, window_positions
from qtoolkit.kernels.layer import as_bytes

Pair = Sequence[int]     # vertical first
__all__ = ["int8_conv2d", "output_size", "pack_conv"]


def output_size(shape: Sequence[int], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> list[int]:
    """[height, width] of the result for images of `shape` (images, channels, height, width)."""
    return [window_positions(*axis) for axis in zip(shape[2:], kernel, stride, padding, dilation)]


def check_geometry(shape: Sequence[int], out_channels: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1) -> None:
    """Raise ValueError unless these are numbers with which images of `shape` can be convolved."""
    if len(shape) != 4:
        raise ValueError(f"x has shape {tuple(shape)}, expected (images, channels, height, width)")
    for name, pair, least in (("kernel", kernel, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if len(pair) != 2 or min(pair) < least or max(pair) > 1 << 20:
            raise ValueError(f"{name} is {list(pair)}, expected two numbers of at least {least}, vertical first")
    if out_channels < 1 or min(output_size(shape, kernel, stride, padding, dilation)) < 1:
        raise ValueError(f"x of shape {tuple(shape)} gives {out_channels} channels of {output_size(shape, kernel, stride, padding, dilation)} "
                         "pixels, expected at least 1 each; is the kernel larger than the padded image?")
    if groups < 1 or shape[1] % groups or out_channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of x's {shape[1]} channels and of the {out_channels} outputs; "
                         "pass the groups that pack_conv got")


def images_shape(dtype: torch.dtype | None):
    """The shape rule of a convolution; dtype None keeps the dtype of x."""
    def shape(x: Tensor, layer: Tensor, out_channels: int, *geometry) -> Tensor:
        check_geometry(x.shape, out_channels, *geometry)
        size = output_size(x.shape, *geometry[:4])
        return torch.empty((x.shape[0], out_channels, *size), dtype=dtype or x.dtype, device=x.device, memory_format=torch.channels_last)

    return shape


@lru_cache(1024)
def _prepared(shape: tuple[int, ...], out_channels: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> tuple:
    """What every call with this geometry needs: the result's shape and channels-last strides, and the numbers for C. It is checked here."""
    check_geometry(shape, out_channels, kernel, stride, padding, dilation, groups)
    height, width = output_size(shape, kernel, stride, padding, dilation)
    numbers = (*shape[2:], height, width, *kernel, *stride, *padding, *dilation, groups)
    return (shape[0], out_channels, height, width), (out_channels * height * width, 1, out_channels * width, out_channels), (ctypes.c_int32 * 13)(*numbers)


def call(function, x: Tensor, layer: Tensor, dtype: torch.dtype, out_channels: int, *geometry, explain) -> Tensor:
    """The result of a C function of convolutions; `explain()` raises what is wrong, once something is. geometry: kernel to dilation, groups."""
    *pairs, groups = geometry
    size, strides, numbers = _prepared(tuple(x.shape), out_channels, *map(tuple, pairs), groups)
    x = x.contiguous(memory_format=torch.channels_last)
    out = torch.empty_strided(size, strides, dtype=dtype)
    status = function(layer.data_ptr(), layer.numel(), x.data_ptr(), size[0], x.shape[1], numbers, out.data_ptr(), out_channels,
                      torch.get_num_threads())
    if status == 4:
        raise MemoryError(f"no memory for a copy of one image of shape {tuple(x.shape[1:])}")
    if status:
        explain()
        raise ValueError("the bytes of the layer must start at a multiple of 4; pass layer.clone()")
    return out


def _check(x: Tensor, layer: Tensor, *_) -> None:
    if x.dtype is not torch.int8:
        raise ValueError(f"x has dtype {x.dtype}, expected int8 codes; use torch.ops.qtoolkit.quantize_int8 first")
    as_bytes(layer)


def _native(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
            groups: int = 1) -> Tensor:
    return call(library.qk_conv_int8, x, layer, torch.int8, out_channels, kernel, stride, padding, dilation, groups,
                explain=lambda: conv_codes(x.shape[1], layer, out_channels, kernel, groups))


def _portable(x: Tensor, layer: Tensor, out_channels: int, *geometry) -> Tensor:
    check_geometry(x.shape, out_channels, *geometry)
    return portable.int8_conv2d(x, layer, out_channels, *geometry)


int8_conv2d = ops.register("int8_conv2d(Tensor x, Tensor layer, SymInt out_channels, int[2] kernel, int[2] stride, int[2] padding, "
                           "int[2] dilation, int groups=1) -> Tensor", _portable if library is None else _native, _check,
                           images_shape(torch.int8))
