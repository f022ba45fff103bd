"""A quantizer as a ruler under real numbers."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, checked_numbers, float_bytes, synced

TAIL, INNER = 256, 1536  # numbers that travel with the page, 8 kB: each of the outermost, and quantiles of those between
BINS = 80


class Sketched(Widget):
    """Numbers that travel as `sketch(x)`, below the histogram of all of them: shared by the widgets that show one tensor.

    x: any shape, real. Raises TypeError or ValueError for an x that is not real, empty or not finite.
    """

    values = synced(traitlets.Bytes())
    tail = synced(traitlets.Int())
    inner = synced(traitlets.Float())
    edges = synced(traitlets.Bytes())
    counts = synced(traitlets.List())
    total = synced(traitlets.Int())
    name = synced(traitlets.Unicode())

    def __init__(self, x: Tensor, tail: int = TAIL, inner: int = INNER, **settings):
        x = checked_numbers(x, "x")
        counts, edges = bins(x)
        values, weight = sketch(x, tail, inner)
        super().__init__(values=float_bytes(values), tail=tail if weight > 1 else 0, inner=weight, edges=float_bytes(edges),
                         counts=counts.tolist(), total=x.numel(), **settings)


class NumberLine(Sketched):
    """Histogram of `x` above the levels of a quantizer; controls: bits 2 to 8, length of the ruler, kind of quantizer.

    x: any shape, real. The script recomputes scale, zero point, codes used, clipped share, MSE and SQNR from `sketch(x)`.
    `mode` is "full", "restricted" or "asymmetric", as Scheme() with narrow_range or symmetric=False. Raises TypeError or ValueError for
    an x that is not real, empty or not finite, and for settings that no control can reach.
    """

    module = "number_line.js"
    bits = synced(traitlets.Int())
    clip = synced(traitlets.Int())
    mode = synced(traitlets.Unicode())

    def __init__(self, x: Tensor, name: str = "the numbers", bits: int = 4, clip: int = 100, mode: str = "full"):
        if bits not in range(2, 9) or clip not in range(10, 101, 5) or mode not in ("full", "restricted", "asymmetric"):
            raise ValueError(f"given bits={bits}, clip={clip}, mode={mode!r}; expected bits 2 to 8, clip 10 to 100 in steps of 5, "
                             "mode full, restricted or asymmetric")
        super().__init__(x, name=name, bits=bits, clip=clip, mode=mode)


def sketch(x: Tensor, tail: int = TAIL, inner: int = INNER) -> tuple[Tensor, float]:
    """Few numbers that stand for x, sorted, and how many numbers each of the inner ones stands for.

    The `tail` smallest and largest are kept one by one, because they decide the range and which codes occur; `inner` evenly spaced
    order statistics stand for the rest. If x is small enough all of it is kept.

    >>> sketch(torch.arange(101.0), tail=1, inner=3)
    (tensor([  0.,  17.,  50.,  83., 100.]), 33.0)
    """
    ordered = x.flatten().sort().values
    between = len(ordered) - 2 * tail
    if between <= inner:
        return ordered, 1.0
    middles = tail + (torch.arange(inner, dtype=torch.float64).add(0.5) * (between / inner) - 0.5).round().long()
    return torch.cat([ordered[:tail], ordered[middles], ordered[-tail:]]), between / inner


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
