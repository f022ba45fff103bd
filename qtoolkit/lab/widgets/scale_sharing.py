"""Who shares a scale: the range of every channel of a real layer, and the ranges that their quantizers cover."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, checked_numbers, float_bytes, synced


class ScaleSharing(Widget):
    """The channels of a weight as bars, the shared ranges drawn over them; controls: layer, granularity, bits 2 to 8.

    layers: {name: weight (channels, ...)}, up to 4,096 numbers each, all of which travel. The script recomputes, as
    `Affine.fit(weight, Scheme(bits, granularity=...))` does, scales, levels that each channel reaches, MSE, and bits per weight with float32 scales.
    Raises TypeError or ValueError for a weight that is not real, empty, too large, a vector, or whose channels cannot be split.
    """

    module = "scale_sharing.js"
    names = synced(traitlets.List())
    values = synced(traitlets.Bytes())
    channels = synced(traitlets.List())
    sizes = synced(traitlets.List())
    bits = synced(traitlets.Int())

    def __init__(self, layers: dict[str, Tensor], bits: int = 4):
        if bits not in range(2, 9) or not layers:
            raise ValueError(f"given {len(layers)} layers and bits={bits}; expected at least one layer and bits 2 to 8")
        sizes = [block_sizes(weight, name) for name, weight in layers.items()]
        values = torch.cat([checked_numbers(weight, name) for name, weight in layers.items()])
        super().__init__(names=list(layers), values=float_bytes(values),
                         channels=[len(weight) for weight in layers.values()], sizes=sizes, bits=bits)


def block_sizes(weight: Tensor, name: str = "weight") -> list[int]:
    """How many neighboring weights share a scale: in the layer, in a group of channels, in a channel, in a part of a channel.

    There are at most eight groups; a part is the longest that divides the channel into at least as many parts as it is long.

    >>> block_sizes(torch.zeros(32, 1, 3, 3))
    [288, 36, 9, 3]
    """
    count = checked_numbers(weight, name).numel()
    if weight.dim() < 2 or count > 4096:
        raise ValueError(f"{name} has shape {tuple(weight.shape)}, expected (channels, ...) with at most 4,096 numbers")
    channel = count // len(weight)
    part = max(size for size in range(1, channel + 1) if channel % size == 0 and size * size <= channel)
    groups = max(number for number in range(1, 9) if len(weight) % number == 0)
    return [count, count // groups, channel, part]
