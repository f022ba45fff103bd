"""int8 convolution: torch.ops.qtoolkit.int8_conv2d(x, layer, out_channels, kernel, stride, padding, dilation).

    q_y = clamp( requantize( sum_taps sum_c q_x q_w + bias ) + Z_y )         padding stands for the real 0: it has the code Z_x

x is int8 (images, channels, height, width); so is the result, in channels-last memory, in which the kernel works (an x in
another memory format is copied first). `layer` comes from `pack_conv`.
"""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from qtoolkit.kernels import ops, reference
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import as_bytes, pack_layer, unpack_layer


def pack_conv(weight: Tensor, bias: Tensor | None = None, **parts) -> Tensor:
    """The bytes of a convolution: weight (out, in, height, width) int8; everything else as in `layer.pack_layer`.

    >>> pack_conv(torch.ones(2, 3, 3, 3, dtype=torch.int8), shift=torch.tensor(8), multiplier=torch.tensor(2**7)).numel()
    1024
    """
    if weight.dim() != 4:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (out_channels, in_channels, height, width)")
    return pack_layer(weight.permute(0, 2, 3, 1).flatten(1, 2), bias, **parts)


def output_size(x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> list[int]:
    """[height, width] of the result."""
    return [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation)]


def _check(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> None:
    if x.dtype is not torch.int8:
        raise ValueError(f"x has dtype {x.dtype}, expected int8 codes; use torch.ops.qtoolkit.quantize_int8 first")
    check_geometry(x, out_channels, kernel, stride, padding, dilation)
    as_bytes(layer)


def check_geometry(x: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> None:
    """Raise ValueError unless these are numbers with which images can be convolved."""
    if x.dim() != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (images, channels, height, width)")
    for name, pair, least in (("kernel", kernel, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if len(pair) != 2 or min(pair) < least or max(pair) > 1 << 20:
            raise ValueError(f"{name} is {list(pair)}, expected two numbers of at least {least}, vertical first")
    if out_channels < 1 or min(output_size(x, kernel, stride, padding, dilation)) < 1:
        raise ValueError(f"x of shape {tuple(x.shape)} gives {out_channels} channels of {output_size(x, kernel, stride, padding, dilation)} "
                         "pixels, expected at least 1 each; is the kernel larger than the padded image?")


def _shape(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    size = output_size(x, kernel, stride, padding, dilation)
    return torch.empty((x.shape[0], out_channels, *size), dtype=torch.int8, device=x.device, memory_format=torch.channels_last)


def _native(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    x, out = x.contiguous(memory_format=torch.channels_last), _shape(x, layer, out_channels, kernel, stride, padding, dilation)
    geometry = (ctypes.c_int32 * 12)(*x.shape[2:], *out.shape[2:], *kernel, *stride, *padding, *dilation)
    status = library.qk_conv_int8(layer.data_ptr(), layer.numel(), x.data_ptr(), x.shape[0], x.shape[1], ctypes.addressof(geometry),
                                  out.data_ptr(), out_channels, torch.get_num_threads())
    if status == 4:
        raise MemoryError(f"no memory for a copy of one image of shape {tuple(x.shape[1:])}")
    if status:
        _codes(x, layer, out_channels, kernel)
        raise ValueError("the bytes of the layer must start at a multiple of 4; pass layer.clone()")
    return out


def portable_int8_conv2d(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int],
                         dilation: list[int]) -> Tensor:
    """The definition in plain torch: float64 holds every integer of the sum exactly."""
    codes = _codes(x, layer, out_channels, kernel)
    weight = codes.weight.reshape(out_channels, *kernel, x.shape[1]).permute(0, 3, 1, 2).double()
    padded = F.pad(x.double(), (padding[1], padding[1], padding[0], padding[0]), value=float(codes.input_zero_point))
    sums = F.conv2d(padded, weight, stride=stride, dilation=dilation).to(torch.int64).movedim(1, -1) + codes.bias
    q = reference.requantize(sums, codes.multiplier, codes.shift, codes.zero_point, codes.lowest, codes.highest)
    return q.movedim(-1, 1).contiguous(memory_format=torch.channels_last)


def _codes(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int]):
    codes = unpack_layer(layer)
    n, *taps, k = codes.weight.shape
    if (out_channels, x.shape[1]) != (n, k) or (taps[0] if taps else 1) != kernel[0] * kernel[1]:
        raise ValueError(f"x has {x.shape[1]} channels, out_channels is {out_channels} and the kernel {list(kernel)}, which does not fit a "
                         f"layer of {n} outputs, {taps[0] if taps else 1} taps and {k} inputs")
    return codes


int8_conv2d = ops.register("int8_conv2d(Tensor x, Tensor layer, SymInt out_channels, int[2] kernel, int[2] stride, int[2] padding, "
                           "int[2] dilation) -> Tensor", portable_int8_conv2d if library is None else _native, _check, _shape)
