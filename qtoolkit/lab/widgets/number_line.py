"""A quantizer as a ruler under real numbers."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, checked_numbers, float_bytes, synced

SAMPLE = 2049  # numbers that travel with the page: 8 kB
BINS = 80


class NumberLine(Widget):
    """Histogram of `x` above the levels of a quantizer; controls: bits 2 to 8, length of the ruler, kind of quantizer.

    x: any shape, real. The script recomputes scale, zero point, codes used, clipped share, MSE and SQNR from `quantiles(x)`.
    `mode` is "full", "restricted" or "asymmetric", as Scheme() with narrow_range or symmetric=False. Raises TypeError or ValueError for
    an x that is not real, empty or not finite, and for settings that no control can reach.
    """

    module = "number_line.js"
    values = synced(traitlets.Bytes())
    edges = synced(traitlets.Bytes())
    counts = synced(traitlets.List())
    total = synced(traitlets.Int())
    name = synced(traitlets.Unicode())
    bits = synced(traitlets.Int())
    clip = synced(traitlets.Int())
    mode = synced(traitlets.Unicode())

    def __init__(self, x: Tensor, name: str = "the numbers", bits: int = 4, clip: int = 100, mode: str = "full"):
        if bits not in range(2, 9) or clip not in range(10, 101, 5) or mode not in ("full", "restricted", "asymmetric"):
            raise ValueError(f"given bits={bits}, clip={clip}, mode={mode!r}; expected bits 2 to 8, clip 10 to 100 in steps of 5, "
                             "mode full, restricted or asymmetric")
        x = checked_numbers(x, "x")
        counts, edges = bins(x)
        super().__init__(values=float_bytes(quantiles(x)), edges=float_bytes(edges), counts=counts.tolist(), total=x.numel(),
                         name=name, bits=bits, clip=clip, mode=mode)


def quantiles(x: Tensor, count: int = SAMPLE) -> Tensor:
    """At most `count` numbers that stand for x: evenly spaced order statistics, smallest and largest included, sorted.

    >>> quantiles(torch.arange(101.0), 5)
    tensor([  0.,  25.,  50.,  75., 100.])
    """
    ordered = x.flatten().sort().values
    if len(ordered) <= count:
        return ordered
    return ordered[torch.linspace(0, len(ordered) - 1, count, dtype=torch.float64).round().long()]


def bins(x: Tensor, count: int = BINS) -> tuple[Tensor, Tensor]:
    """Counts (count,) and edges (count + 1,) of equal bins from the smallest to the largest number.

    >>> bins(torch.tensor([0.0, 1.0, 1.0]), 2)
    (tensor([1, 2]), tensor([0.0000, 0.5000, 1.0000]))
    """
    lo, hi = x.aminmax()
    hi = hi if hi > lo else lo + 1
    edges = torch.linspace(float(lo), float(hi), count + 1)
    place = ((x - lo) / (hi - lo) * count).long().clamp(0, count - 1)
    return torch.bincount(place, minlength=count), edges
