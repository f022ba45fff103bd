"""The bytes of a convolution's layers: one for each group or, for depthwise convolution (1 < groups = channels = out_channels), one
layer whose inputs are the taps. A layer of fewer than 4 channels is a linear one, whose inputs are whole patches: taps x channels."""

from __future__ import annotations

import torch
from torch import Tensor

from qtoolkit.kernels.layer import LayerCodes, pack_layer, unpack_layer


def pack_conv(weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, **parts) -> Tensor:
    """The bytes of a convolution: weight (out, in / groups, height, width) int8; everything else as in `layer.pack_layer`.

    >>> pack_conv(torch.ones(2, 4, 3, 3, dtype=torch.int8)).numel()                      # 64 + 6*4*16 + 9 taps * 64
    1024
    >>> pack_conv(torch.ones(2, 3, 3, 3, dtype=torch.int8)).numel()                      # patches: 64 + 6*4*16 + 7*64
    896
    >>> pack_conv(torch.ones(16, 1, 3, 3, dtype=torch.int8), groups=16).numel()          # depthwise: 64 + 6*4*16 + 3*64
    640
    """
    if weight.dim() != 4:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (out_channels, in_channels / groups, height, width)")
    n, k = weight.shape[:2]
    if groups < 1 or n % groups:
        raise ValueError(f"groups is {groups} for {n} output channels, expected a divisor of them; give weight and groups of one layer")
    if is_depthwise(k * groups, n, groups):
        return pack_layer(weight.flatten(1), bias, **parts)
    weights = weight.permute(0, 2, 3, 1).flatten(1, 2)
    weights = (weights.flatten(1) if k < 4 else weights).chunk(groups)
    return torch.cat([pack_layer(part, **_of_group(dict(parts, bias=bias), g, groups)) for g, part in enumerate(weights)])


def is_depthwise(channels: int, out_channels: int, groups: int) -> bool:
    return 1 < groups == channels == out_channels


def _of_group(parts: dict, group: int, groups: int) -> dict:
    """The entries of one group; what is one number for all channels stays as it is."""
    per_channel = {name: part for name, part in parts.items() if isinstance(part, Tensor) and part.numel() > 1}
    return parts | {name: part.chunk(groups)[group] for name, part in per_channel.items()}


def window_positions(size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1) -> int:
    """How many places a window has along an axis: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def conv_codes(channels: int, layer: Tensor, out_channels: int, kernel: list[int], groups: int) -> list[LayerCodes]:
    """What the bytes say, group by group; ValueError if that does not fit the call."""
    if groups < 1 or channels % groups or out_channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of the {channels} channels and of the {out_channels} outputs")
    taps, depthwise = kernel[0] * kernel[1], is_depthwise(channels, out_channels, groups)
    count = 1 if depthwise else groups
    if layer.numel() % count:
        raise ValueError(f"layer has {layer.numel()} bytes, which is not a layer for each of {groups} groups; pass pack_conv's bytes and groups")
    each = [unpack_layer(part.clone()) for part in layer.chunk(count)]
    k = channels // groups
    inputs = [(taps,)] if depthwise else [(taps, k), (taps * k,)] if taps > 1 else [(k,)]
    for codes in each:
        n, *of_taps, k = codes.weight.shape
        if n != out_channels // count or (*of_taps, k) not in inputs:
            raise ValueError(f"x has {channels} channels, out_channels is {out_channels}, groups {groups} and the kernel {list(kernel)}, which "
                             f"does not fit a layer of {n} outputs, {of_taps[0] if of_taps else 1} taps and {k} inputs; pass what pack_conv got")
    return each
