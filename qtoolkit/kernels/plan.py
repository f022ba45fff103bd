"""A whole integer network as one block of bytes: what the operator int8_plan takes, what a state_dict saves (layout: csrc/qk.h).

Between two stages flow int8 codes. Those of an image lie as (height, width, channels), the channels of a pixel together, and so a
linear layer after images has its inputs in this order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from qtoolkit.kernels.conv_layer import conv_codes, window_positions
from qtoolkit.kernels.layer import as_bytes, check_codes, header_bytes, unpack_layer

_MAGIC, _LINEAR, _CONVOLUTION, _MAX_POOL = 0x32504B51, 0, 1, 2
_HEADER, _STAGE = struct.Struct("<3if3i36x"), struct.Struct("<qq11i4x")
MAX_PLAN_STAGES = 64
Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """Bytes from `conv.pack_conv` and the geometry that goes with them; pairs are vertical first."""

    layer: Tensor
    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class MaxPool:
    """The largest code of each window; rows and columns that no whole window reaches are left out."""

    kernel: Pair
    stride: Pair


Stage = Tensor | Convolution | MaxPool      # a tensor: the bytes of a linear layer


@dataclass(frozen=True)
class Plan:
    """What the bytes of a plan say: its stages, scale and zero point of the quantized input, and the input's (channels, height, width)."""

    stages: list[Stage]
    scale: float
    zero_point: int
    image: tuple[int, int, int]

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """(channels, height, width) of the input and after each stage."""
        return sizes_between(self.stages, self.image)

    @property
    def out_features(self) -> int:
        """Outputs of the last stage."""
        return self.sizes[-1][0]


def pack_plan(stages: Sequence[Stage], scale: float, zero_point: int, image: tuple[int, int, int] | None = None) -> Tensor:
    """The bytes (uint8, 1-D) of a network: its input is quantized with (scale, zero_point); each stage feeds the next; the last is real.

    `image` is the (channels, height, width) of the input; None for a network of linear layers alone.
    Raises ValueError if there is no stage, more than 64, one that does not fit the next, or if the last is not a linear layer.
    """
    if not 1 <= len(stages) <= MAX_PLAN_STAGES:
        raise ValueError(f"the plan has {len(stages)} stages, expected 1 to {MAX_PLAN_STAGES}")
    if image is None and not isinstance(stages[0], Tensor):
        raise ValueError(f"the first stage is a {type(stages[0]).__name__}, expected image=(channels, height, width) with it")
    image = (unpack_layer(stages[0]).weight.shape[-1], 1, 1) if image is None else image
    sizes_between(stages, image)
    check_codes(zero_point=zero_point)
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale is {scale}, expected a positive finite number")
    start = _HEADER.size + _STAGE.size * len(stages)
    rows, layers, at = [], [], start
    for stage in stages:    # a layer's length is a multiple of 64, so each starts on a cache line
        layer = stage if isinstance(stage, Tensor) else getattr(stage, "layer", torch.empty(0, dtype=torch.uint8))
        rows.append(_STAGE.pack(at, layer.numel(), *_numbers(stage)))
        layers.append(layer)
        at += layer.numel()
    return torch.cat([header_bytes(_HEADER.pack(_MAGIC, len(stages), zero_point, scale, *image) + b"".join(rows)), *layers])


def _numbers(stage: Stage) -> tuple[int, ...]:
    """Kind, output channels, kernel, stride, padding, dilation and groups of a stage."""
    match stage:
        case Convolution(_, channels, kernel, stride, padding, dilation, groups):
            return _CONVOLUTION, channels, *kernel, *stride, *padding, *dilation, groups
        case MaxPool(kernel, stride):
            return _MAX_POOL, 0, *kernel, *stride, 0, 0, 1, 1, 1
    return _LINEAR, *(0,) * 10


def unpack_plan(plan: Tensor) -> Plan:
    """Undo `pack_plan`. Raises ValueError if the bytes are not a plan."""
    raw = as_bytes(plan)
    if raw.numel() < _HEADER.size:
        raise ValueError(f"the plan has {raw.numel()} bytes, expected at least {_HEADER.size}; make it with pack_plan")
    magic, count, zero_point, scale, *image = _HEADER.unpack(raw[: _HEADER.size].numpy().tobytes())
    if magic != _MAGIC or not 1 <= count <= MAX_PLAN_STAGES or raw.numel() < _HEADER.size + _STAGE.size * count or not scale > 0:
        raise ValueError("these bytes are not a plan (header or length is wrong); make it with pack_plan")
    check_codes(zero_point=zero_point)
    table = raw[_HEADER.size : _HEADER.size + _STAGE.size * count].numpy().tobytes()
    stages = [_stage(raw, *numbers) for numbers in _STAGE.iter_unpack(table)]
    sizes_between(stages, tuple(image))
    return Plan(stages, scale, zero_point, tuple(image))


def _stage(raw: Tensor, start: int, size: int, kind: int, channels: int, *pairs: int) -> Stage:
    kernel, stride, padding, dilation = zip(pairs[0:8:2], pairs[1:8:2])
    if not 0 <= start <= start + size <= raw.numel() or size < 0 or kind not in (_LINEAR, _CONVOLUTION, _MAX_POOL):
        raise ValueError("these bytes are not a plan (a stage is of no known kind, or its layer lies outside); make it with pack_plan")
    if kind == _MAX_POOL and (padding, dilation) == ((0, 0), (1, 1)):
        return MaxPool(kernel, stride)
    layer = raw[start : start + size]
    return Convolution(layer, channels, kernel, stride, padding, dilation, pairs[8]) if kind == _CONVOLUTION else layer


def sizes_between(stages: Sequence[Stage], image: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """(channels, height, width) of the input and after each stage. Raises ValueError for stages that do not follow each other.

    >>> from qtoolkit.kernels.layer import pack_layer
    >>> sizes_between([MaxPool((2, 2), (2, 2)), pack_layer(torch.ones(5, 48, dtype=torch.int8))], (3, 9, 8))
    [(3, 9, 8), (3, 4, 4), (5, 1, 1)]
    """
    if len(image) != 3 or min(image) < 1:
        raise ValueError(f"image is {tuple(image)}, expected (channels, height, width), each at least 1")
    sizes = [tuple(image)]
    for index, stage in enumerate(stages):
        sizes.append(_linear_size(stage, sizes[-1]) if isinstance(stage, Tensor) else _slide_size(stage, sizes[-1], index))
    if not isinstance(stages[-1], Tensor):
        raise ValueError(f"the last stage is a {type(stages[-1]).__name__}, expected a linear layer, whose output is real")
    return sizes


def _linear_size(layer: Tensor, size: tuple[int, int, int]) -> tuple[int, int, int]:
    weight = unpack_layer(layer.clone()).weight
    if weight.dim() != 2 or weight.shape[1] != prod(size):
        raise ValueError(f"(channels, height, width) = {size} feeds a layer with weight {tuple(weight.shape)}, expected (outputs, {prod(size)})")
    return weight.shape[0], 1, 1


def _slide_size(stage: Convolution | MaxPool, size: tuple[int, int, int], index: int) -> tuple[int, int, int]:
    padding, dilation = getattr(stage, "padding", (0, 0)), getattr(stage, "dilation", (1, 1))
    fit = min(*stage.kernel, *stage.stride, *dilation) >= 1 and min(padding) >= 0
    out = [window_positions(*axis) if fit else 0 for axis in zip(size[1:], stage.kernel, stage.stride, padding, dilation)]
    if min(out) < 1:
        raise ValueError(f"stage {index} is a {type(stage).__name__} of kernel {stage.kernel}, stride {stage.stride}, padding {padding} and dilation "
                         f"{dilation}, which does not fit images of {size[1]} x {size[2]} pixels")
    if isinstance(stage, MaxPool):
        return size[0], *out
    conv_codes(size[0], stage.layer, stage.out_channels, list(stage.kernel), stage.groups)
    return stage.out_channels, *out
