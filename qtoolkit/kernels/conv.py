"""int8 convolution: torch.ops.qtoolkit.int8_conv2d(x, layer, out_channels, kernel, stride, padding, dilation, groups=1).

    q_y = clamp( requantize( sum_taps sum_c q_x q_w + bias ) + Z_y )         padding stands for the real 0: it has the code Z_x

x is int8 (images, channels, height, width); so is the result, in channels-last memory, in which the kernel works (an x in
another memory format is copied first). `layer` comes from `pack_conv` with the same `groups`: as many layers one after another,
or, for depthwise convolution (1 < groups = channels = out_channels), one layer whose inputs are the taps.
"""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from qtoolkit.kernels import ops, reference
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import LayerCodes, as_bytes, pack_layer, unpack_layer


def pack_conv(weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, **parts) -> Tensor:
    """The bytes of a convolution: weight (out, in / groups, height, width) int8; everything else as in `layer.pack_layer`.

    >>> pack_conv(torch.ones(2, 3, 3, 3, dtype=torch.int8), shift=torch.tensor(8), multiplier=torch.tensor(2**7)).numel()
    1024
    >>> pack_conv(torch.ones(16, 1, 3, 3, dtype=torch.int8), groups=16).numel()          # depthwise: 64 + 6*4*16 + 3*64
    640
    """
    if weight.dim() != 4:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (out_channels, in_channels / groups, height, width)")
    n, k = weight.shape[:2]
    if groups < 1 or n % groups:
        raise ValueError(f"groups is {groups} for {n} output channels, expected a divisor of them; give weight and groups of one layer")
    if _is_depthwise(k * groups, n, groups):
        return pack_layer(weight.flatten(1), bias, **parts)
    weights = weight.permute(0, 2, 3, 1).flatten(1, 2).chunk(groups)
    return torch.cat([pack_layer(part, **_of_group(dict(parts, bias=bias), g, groups)) for g, part in enumerate(weights)])


def _is_depthwise(channels: int, out_channels: int, groups: int) -> bool:
    return 1 < groups == channels == out_channels


def _of_group(parts: dict, group: int, groups: int) -> dict:
    """The entries of one group; what is one number for all channels stays as it is."""
    per_channel = {name: part for name, part in parts.items() if isinstance(part, Tensor) and part.numel() > 1}
    return parts | {name: part.chunk(groups)[group] for name, part in per_channel.items()}


def output_size(x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> list[int]:
    """[height, width] of the result."""
    return [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation)]


def _check(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
           groups: int = 1) -> None:
    if x.dtype is not torch.int8:
        raise ValueError(f"x has dtype {x.dtype}, expected int8 codes; use torch.ops.qtoolkit.quantize_int8 first")
    check_geometry(x, out_channels, kernel, stride, padding, dilation)
    if groups < 1 or x.shape[1] % groups or out_channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of x's {x.shape[1]} channels and of the {out_channels} outputs; "
                         "pass the groups that pack_conv got")
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


def images_shape(dtype: torch.dtype | None):
    """The shape rule of a convolution; dtype None keeps the dtype of x."""
    def shape(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
              groups: int = 1) -> Tensor:
        size = output_size(x, kernel, stride, padding, dilation)
        return torch.empty((x.shape[0], out_channels, *size), dtype=dtype or x.dtype, device=x.device, memory_format=torch.channels_last)

    return shape


_shape = images_shape(torch.int8)


def call(function, x: Tensor, layer: Tensor, out: Tensor, *geometry: list[int], groups: int = 1, explain) -> Tensor:
    """`out`, filled by a C function of convolutions; `explain()` raises what is wrong, once something is. geometry: kernel to dilation."""
    x = x.contiguous(memory_format=torch.channels_last)
    numbers = [*x.shape[2:], *out.shape[2:], *(number for pair in geometry for number in pair), groups]
    status = function(layer.data_ptr(), layer.numel(), x.data_ptr(), *x.shape[:2], (ctypes.c_int32 * 13)(*numbers), out.data_ptr(),
                      out.shape[1], torch.get_num_threads())
    if status == 4:
        raise MemoryError(f"no memory for a copy of one image of shape {tuple(x.shape[1:])}")
    if status:
        explain()
        raise ValueError("the bytes of the layer must start at a multiple of 4; pass layer.clone()")
    return out


def _native(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
           groups: int = 1) -> Tensor:
    out = _shape(x, layer, out_channels, kernel, stride, padding, dilation)
    return call(library.qk_conv_int8, x, layer, out, kernel, stride, padding, dilation, groups=groups,
                explain=lambda: _codes(x, layer, out_channels, kernel, groups))


def portable_int8_conv2d(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], stride: list[int], padding: list[int],
                         dilation: list[int], groups: int = 1) -> Tensor:
    """The definition in plain torch: float64 holds every integer of the sum exactly."""
    each = _codes(x, layer, out_channels, kernel, groups)
    channels = x.shape[1] // groups
    if _is_depthwise(x.shape[1], out_channels, groups):
        weight = each[0].weight.reshape(out_channels, 1, *kernel)
    else:
        weight = torch.cat([codes.weight.reshape(-1, *kernel, channels).permute(0, 3, 1, 2) for codes in each])
    bias, multiplier, shift = (torch.cat([getattr(codes, name) for codes in each]) for name in ("bias", "multiplier", "shift"))
    padded = F.pad(x.double(), (padding[1], padding[1], padding[0], padding[0]), value=float(each[0].input_zero_point))
    sums = F.conv2d(padded, weight.double(), stride=stride, dilation=dilation, groups=groups).to(torch.int64).movedim(1, -1) + bias
    q = reference.requantize(sums, multiplier, shift, each[0].zero_point, each[0].lowest, each[0].highest)
    return q.movedim(-1, 1).contiguous(memory_format=torch.channels_last)


def _codes(x: Tensor, layer: Tensor, out_channels: int, kernel: list[int], groups: int) -> list[LayerCodes]:
    """What the bytes say, group by group; ValueError if that does not fit the call."""
    taps, depthwise = kernel[0] * kernel[1], _is_depthwise(x.shape[1], out_channels, groups)
    count = 1 if depthwise else groups
    if layer.numel() % count:
        raise ValueError(f"layer has {layer.numel()} bytes, which is not a layer for each of {groups} groups; pass pack_conv's bytes and groups")
    each = [unpack_layer(part.clone()) for part in layer.chunk(count)]
    expected = (out_channels // count, taps if depthwise else x.shape[1] // groups)
    for codes in each:
        n, *of_taps, k = codes.weight.shape
        if (n, k) != expected or (of_taps[0] if of_taps else 1) != (1 if depthwise else taps):
            raise ValueError(f"x has {x.shape[1]} channels, out_channels is {out_channels}, groups {groups} and the kernel {list(kernel)}, which "
                             f"does not fit a layer of {n} outputs, {of_taps[0] if of_taps else 1} taps and {k} inputs; pass what pack_conv got")
    return each


int8_conv2d = ops.register("int8_conv2d(Tensor x, Tensor layer, SymInt out_channels, int[2] kernel, int[2] stride, int[2] padding, "
                           "int[2] dilation, int groups=1) -> Tensor", portable_int8_conv2d if library is None else _native, _check, _shape)
