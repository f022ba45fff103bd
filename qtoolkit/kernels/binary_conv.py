"""Convolution of signs: torch.ops.qtoolkit.binary_conv2d(x, layer, out_channels, kernel, stride, padding, dilation).

    y = scale * sum_taps sum_c sign(x) w + b          w binary (-1, +1) or ternary (-1, 0, +1); padding is 0, and sign(0) = +1

x is real (images, channels, height, width); the result has its dtype and channels-last memory. `layer` comes from `table.pack_binary` or
`table.pack_ternary` with weights (out, in, height, width). Integers up to the last step, so every machine gives the same bits.
Source: Rastegari et al. 2016 (XNOR-Net), section 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qtoolkit.kernels import ops
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.conv import call, check_geometry, images_shape
from qtoolkit.kernels.layer import as_bytes
from qtoolkit.kernels.portable import finite
from qtoolkit.kernels.table import TableCodes, signs, unpack_table


def _check(x: Tensor, layer: Tensor, *_) -> None:
    if not x.dtype.is_floating_point:
        raise ValueError(f"x has dtype {x.dtype}, expected a floating-point dtype; convert it with x.float()")
    as_bytes(layer)


def _native(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    return call(library.qk_table_conv, x.float(), layer, torch.float32, out_channels, kernel, stride, padding, dilation, 1,
                explain=lambda: _codes(finite(x), layer, out_channels, kernel)).to(x.dtype)


def portable_binary_conv2d(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int],
                           dilation: list[int]) -> Tensor:
    """The definition in plain torch."""
    check_geometry(x.shape, out_channels, kernel, stride, padding, dilation)
    codes, images = _codes(x, layer, out_channels, kernel), finite(x).float()
    weight = codes.weight().transpose(1, 2).reshape(out_channels, x.shape[1], *kernel)
    padded = F.pad(signs(images), (padding[1], padding[1], padding[0], padding[0]), value=1.0)
    sums = F.conv2d(padded, weight, stride=stride, dilation=dilation)
    y = sums * codes.scale[:, None, None] + codes.bias[:, None, None]
    return y.to(x.dtype).contiguous(memory_format=torch.channels_last)


def _codes(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int]) -> TableCodes:
    codes = unpack_table(layer)
    if codes.bits > 2:
        raise ValueError("these are the bytes of a codebook layer, expected a binary or ternary convolution")
    if (out_channels, x.shape[1], kernel[0] * kernel[1]) != (codes.outputs, codes.inputs, codes.taps):
        raise ValueError(f"x has {x.shape[1]} channels, out_channels is {out_channels} and the kernel {list(kernel)}, which does not fit a "
                         f"layer of {codes.outputs} outputs, {codes.taps} taps and {codes.inputs} inputs")
    return codes


binary_conv2d = ops.register("binary_conv2d(Tensor x, Tensor layer, SymInt out_channels, int[2] kernel, int[2] stride, int[2] padding, "
                             "int[2] dilation) -> Tensor", portable_binary_conv2d if library is None else _native, _check, images_shape(None))
