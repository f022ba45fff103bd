"""Calibration: which range of real numbers the codes shall cover.

A calibration maps rows (n_blocks, block_size) to the range (lo, hi) of each row, both (n_blocks, 1). Those that look at more
than the ends also take `weights`, shaped like rows, which say how often each value was seen: an observer that has kept
only a histogram passes the bin centers as rows and the counts as weights.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks

Range = tuple[Tensor, Tensor]


def min_max(rows: Tensor) -> Range:
    """The range from the smallest to the largest value of each row: lo = min x, hi = max x.

    rows: (n_blocks, block_size). Returns lo and hi, each (n_blocks, 1).
    Raises TypeError or ValueError if rows is not a non-empty matrix of finite real numbers.
    Source: Gholami et al. 2021, section III-C.
    See: book/chapters/03-calibration.ipynb#minimum-maximum-and-a-moving-average

    >>> min_max(torch.tensor([[0.5, -1.0], [2.0, 3.0]]))
    (tensor([[-1.],
            [ 2.]]), tensor([[0.5000],
            [3.0000]]))
    """
    lo, hi = as_rows(rows).aminmax(dim=1, keepdim=True)
    return lo, hi


@dataclass(frozen=True)
class Percentile:
    """Cut off the outermost values: `percent` of them stay in the range, half of the rest is clipped at each end.

    With n values, k = floor(n (100 - percent) / 200): lo is the (k+1)-th smallest value, hi the (k+1)-th largest. Both are
    values that occurred, not interpolations. ONNX Runtime returns the edge of a histogram bin instead, so its clip differs by
    up to one bin. Raises ValueError unless 0 < percent <= 100. Source: McKinstry et al. 2018; Gholami et al. 2021, section III-C.
    See: book/chapters/03-calibration.ipynb#percentiles

    >>> Percentile(80)(torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8, 9, 1000]]))
    (tensor([[2.]]), tensor([[9.]]))
    """

    percent: float = 99.9

    def __post_init__(self):
        if not 0 < self.percent <= 100:
            raise ValueError(f"percent is {self.percent}, expected a value in (0, 100], such as 99.9")

    def __call__(self, rows: Tensor, weights: Tensor | None = None) -> Range:
        rows, order = as_rows(rows).sort(dim=1)
        seen = _weights(rows, weights).gather(1, order).cumsum(1)
        cut = torch.floor(seen[:, -1:] * (100 - self.percent) / 200 + 1e-9)
        lo = torch.searchsorted(seen, cut, right=True)
        hi = torch.searchsorted(seen, seen[:, -1:] - cut)
        return rows.gather(1, lo), rows.gather(1, hi)


@dataclass(frozen=True)
class AciqLaplace:
    """The clip a that minimizes the expected squared error of `bits`-bit codes if the values follow a Laplace distribution.

        E = 2 b^2 exp(-a/b) + a^2 / (3 4^M),     b = E|x - mean|,     so a/b solves t exp(t) = 3 4^M

    Range: mean - a .. mean + a, but no wider than the data. A row without negative values is one half of a symmetric
    distribution around 0: its codes are all on one side, so it gets the clip for M + 1 bits. The formula assumes bins of width
    2a/2^M with centered levels; on a grid with levels at the ends the best clip is a few percent smaller.
    Source: Banner et al. 2019, equation 8.
    See: book/chapters/03-calibration.ipynb#aciq-the-best-clip-from-a-formula

    >>> round(AciqLaplace(bits=4).ratio(), 2), round(AciqLaplace(bits=4).ratio(one_sided=True), 2)
    (5.03, 6.2)
    """

    bits: int = 8

    def __post_init__(self):
        _checks.bit_width(self.bits)

    def ratio(self, one_sided: bool = False) -> float:
        """a/b, the best clip in units of the distribution's width."""
        target = math.log(3 * 4 ** (self.bits + one_sided))
        return _root(lambda t: math.log(t) + t - target, 1.0, target + 1)

    def __call__(self, rows: Tensor, weights: Tensor | None = None) -> Range:
        return _clip(as_rows(rows), _weights(rows, weights), self.ratio, lambda x, w: _mean(x.abs(), w))


@dataclass(frozen=True)
class AciqGauss:
    """The clip a that minimizes the expected squared error of `bits`-bit codes if the values follow a normal distribution.

        E / s^2 = (t^2 + 1) erfc(t / sqrt 2) - sqrt(2/pi) t exp(-t^2/2) + t^2 / (3 4^M),     t = a/s,  s = std x

    The range is formed as in `AciqLaplace`. Source: Banner et al. 2019, appendix.
    See: book/chapters/03-calibration.ipynb#aciq-the-best-clip-from-a-formula

    >>> round(AciqGauss(bits=4).ratio(), 2)
    2.56
    """

    bits: int = 8

    def __post_init__(self):
        _checks.bit_width(self.bits)

    def ratio(self, one_sided: bool = False) -> float:
        """a/s, the best clip in standard deviations."""
        step = 3 * 4 ** (self.bits + one_sided)

        def half_slope(t: float) -> float:
            return t * math.erfc(t / math.sqrt(2)) - math.sqrt(2 / math.pi) * math.exp(-t * t / 2) + t / step

        return _root(half_slope, 0.0, 10.0)

    def __call__(self, rows: Tensor, weights: Tensor | None = None) -> Range:
        return _clip(as_rows(rows), _weights(rows, weights), self.ratio, lambda x, w: _mean(x.square(), w).sqrt())


def as_rows(rows: Tensor) -> Tensor:
    """Return `rows` if it is a (n_blocks, block_size) matrix of finite real numbers, else raise."""
    if _checks.real_tensor(rows, "rows").dim() != 2:
        raise ValueError(f"rows has shape {tuple(rows.shape)}, expected (n_blocks, block_size); use granularity.blocks(x)")
    return rows


def _weights(rows: Tensor, weights: Tensor | None) -> Tensor:
    """Weights as float64; 1 for each value if none are given."""
    if weights is None:
        return torch.ones(1, dtype=torch.float64).expand(rows.shape)
    if _checks.tensor(weights, "weights").shape != rows.shape or (weights < 0).any() or not (weights.sum(1) > 0).all():
        raise ValueError(f"weights of shape {tuple(weights.shape)} for rows of shape {tuple(rows.shape)}: expected one "
                         "weight of 0 or more a value, and one above 0 in every row")
    return weights.double()


def _mean(x: Tensor, weights: Tensor) -> Tensor:
    return (x * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)


def _clip(rows: Tensor, weights: Tensor, ratio, width) -> Range:
    """center - a .. center + a within the data, where a = ratio * width(x - center)."""
    seen = weights > 0
    lo = rows.where(seen, math.inf).amin(1, keepdim=True)
    hi = rows.where(seen, -math.inf).amax(1, keepdim=True)
    one_sided = lo >= 0
    weights = weights * ((rows > 0) | ~one_sided)  # the zeros of a ReLU tell nothing about the width
    weights = weights.where(weights.sum(1, keepdim=True) > 0, 1.0)
    center = _mean(rows, weights).where(~one_sided, 0.0)
    a = width(rows - center, weights) * torch.where(one_sided, ratio(one_sided=True), ratio())
    return torch.maximum(lo, center - a).to(rows.dtype), torch.minimum(hi, center + a).to(rows.dtype)


def _root(f, lo: float, hi: float) -> float:
    """The zero of an increasing function between lo and hi, by bisection to the last bit."""
    while lo < (middle := (lo + hi) / 2) < hi:
        lo, hi = (middle, hi) if f(middle) < 0 else (lo, middle)
    return lo
