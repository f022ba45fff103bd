"""Levels with a rule behind them. Each class chooses the levels of `Codebook.fit(x, ...)`; k-means is in clusters.py, sums of binary codes in binary_codes.py.

A table is made for numbers of size 1; a *width* then scales it to each row: `largest` (so that nothing is clipped) or
`least_squares` (so that the squared error is least).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.calibration import as_rows
from qtoolkit.quantizers.codebook import Grid, midpoints
from qtoolkit.quantizers.sorted_rows import SortedRows

Width = Callable[[Tensor, Tensor, Tensor], Tensor]


def largest(rows: Tensor, levels: Tensor, boundaries: Tensor) -> Tensor:
    """The scale that puts the largest level on the largest |x| of each row: (n_blocks, 1); 1 for a row of zeros."""
    peak = as_rows(rows).abs().amax(1, keepdim=True) / levels.abs().max()
    return peak.where(peak > 0, 1.0).clamp(min=torch.finfo(peak.dtype).tiny)


def least_squares(rows: Tensor, levels: Tensor, boundaries: Tensor, steps: int = 64) -> Tensor:
    """The scale with the least squared error: argmin over s of sum (s Q(x/s) - x)^2, searched over two grids of `steps`.

    See: book/chapters/06-non-uniform-quantization.ipynb#every-grid-on-the-same-numbers
    """
    widest, data = largest(rows, levels, boundaries), SortedRows(rows)

    def error(factor: Tensor) -> Tensor:
        scale = (widest * factor).double()
        return data.error(levels * scale, data.sums(data.cut((boundaries * scale).to(data.values.dtype))))[:, None]

    best = torch.ones_like(widest)
    least = error(best)
    for offsets in (torch.arange(1, steps) / steps - 1, torch.linspace(-1, 1, steps) / steps):
        center = best
        for offset in offsets:
            factor = (center + offset).clamp(min=1 / steps**2)
            candidate = error(factor)
            best, least = factor.where(candidate < least, best), torch.minimum(candidate, least)
    return widest * best


@dataclass(frozen=True)
class PowerOfTwo:
    """Levels s * {+-1, +-1/2, +-1/4, ...}: Q(x) = s sign(x) 2^clip(round(log2 |x/s|)); a product becomes a shift.

    bits: 1 for the sign, the rest for 2^(bits-1) exponents. There is no level 0, and boundaries are geometric means, so a value
    inside the range is off by a factor of at most sqrt 2. More bits add levels near 0 only: the rigid resolution that keeps
    the error of a normal signal where it is from 4 bits on. Source: Miyashita et al. 2016; Zhou et al. 2017 (INQ).
    See: book/chapters/06-non-uniform-quantization.ipynb#powers-of-two

    >>> PowerOfTwo(bits=3).table()
    tensor([-1.0000, -0.5000, -0.2500, -0.1250,  0.1250,  0.2500,  0.5000,  1.0000])
    """

    bits: int = 4
    width: Width = least_squares

    def __post_init__(self):
        _checks.bit_width(self.bits, largest=7)  # 2^6 exponents stay within float32

    def table(self) -> Tensor:
        """The levels for s = 1, ascending."""
        magnitudes = 2.0 ** -torch.arange(2 ** (self.bits - 1), dtype=torch.float32)
        return torch.cat([-magnitudes, magnitudes.flip(0)])

    def boundaries(self) -> Tensor:
        """Geometric means of neighboring magnitudes, and 0."""
        positive = self.table()[2 ** (self.bits - 1):]
        means = positive[:-1] * math.sqrt(2)
        return torch.cat([-means.flip(0), torch.zeros(1), means])

    def __call__(self, rows: Tensor) -> Grid:
        table, boundaries = self.table()[None], self.boundaries()[None]
        return Grid(table, self.width(rows, table, boundaries), boundaries)


@dataclass(frozen=True)
class APoT:
    """Additive powers of two: magnitudes g * (p_1 + ... + p_n), each p_i from {0, 2^-i, 2^-(i+n), 2^-(i+2n)} (2 bits each).

    bits: 1 for the sign, m = bits - 1 for the magnitude. m = 2n gives 4^n magnitudes; an odd m adds one term of 1 bit. g makes
    the largest magnitude 1; +0 and -0 are one level. A product costs n shifts and additions.
    Source: Li, Dong, Wang 2020, equation 6 and the authors' code for odd m.
    See: book/chapters/06-non-uniform-quantization.ipynb#sums-of-powers-of-two

    >>> APoT(bits=5).magnitudes()[:4]
    tensor([0.0000, 0.0208, 0.0417, 0.0625])
    """

    bits: int = 4
    width: Width = least_squares

    def __post_init__(self):
        _checks.bit_width(self.bits, smallest=2, largest=9)

    def terms(self) -> list[list[float]]:
        """The sets that p_1 .. p_n are taken from."""
        m = self.bits - 1
        n, odd = divmod(m, 2)
        exponents = [[i, i + n, i + 2 * n + odd] for i in range(1, n + 1)]
        return [[0.0, *(2.0**-e for e in row)] for row in exponents] + [[0.0, 2.0 ** -(2 * n + 1)]] * odd

    def magnitudes(self) -> Tensor:
        """All sums of one member of each set, ascending, the largest being 1."""
        sums = sorted({sum(choice) for choice in product(*self.terms())})
        return torch.tensor(sums) / sums[-1]

    def __call__(self, rows: Tensor) -> Grid:
        positive = self.magnitudes()[1:]
        table = torch.cat([-positive.flip(0), torch.zeros(1), positive])[None]
        return Grid(table, self.width(rows, table, midpoints(table)))


@dataclass(frozen=True)
class NormalFloat:
    """Quantiles of the normal distribution: every level is used about equally often by a normal weight. 4 bits: NF4.

    2^(bits-1) quantiles above 0, one less below, 0 itself, divided by the largest; blocks are scaled by their largest |x|.
    Source: Dettmers et al. 2023 (QLoRA), section 3 and the authors' code.
    See: book/chapters/06-non-uniform-quantization.ipynb#levels-from-quantiles

    >>> NormalFloat(bits=3).table()
    tensor([-1.0000, -0.5350, -0.2469,  0.0000,  0.1833,  0.3820,  0.6230,  1.0000])
    """

    bits: int = 4
    width: Width = largest

    def __post_init__(self):
        _checks.bit_width(self.bits, smallest=2, largest=8)

    def table(self) -> Tensor:
        """The levels for a block whose largest |x| is 1, ascending."""
        n = 2**self.bits
        outermost = 1 - (1 / n + 1 / (n - 1)) / 4
        above, below = (torch.special.ndtri(torch.linspace(outermost, 0.5, half + 1, dtype=torch.float64)[:-1])
                        for half in (n // 2, n // 2 - 1))
        table = torch.cat([-below, torch.zeros(1, dtype=torch.float64), above.flip(0)])
        return (table / table.max()).float()

    def __call__(self, rows: Tensor) -> Grid:
        table = self.table()[None]
        return Grid(table, self.width(rows, table, midpoints(table)))


@dataclass(frozen=True)
class LloydMax:
    """The levels with the least squared error for a normal distribution; blocks are scaled by their root mean square.

    X_i = E[x | D_i <= x < D_(i+1)],  D_i = (X_(i-1) + X_i) / 2, repeated until nothing moves. For the levels that are best for
    the numbers at hand, use `KMeans` or `OptimalKMeans`. Source: Lloyd 1982; Max 1960; Gholami et al. 2021, equation 7.
    See: book/chapters/06-non-uniform-quantization.ipynb#the-best-levels-for-a-bell

    >>> LloydMax(bits=2).table()
    tensor([-1.5104, -0.4528,  0.4528,  1.5104])
    """

    bits: int = 4

    def __post_init__(self):
        _checks.bit_width(self.bits, largest=6)

    def table(self) -> Tensor:
        """The levels for variance 1, ascending."""
        n = 2**self.bits
        levels = math.sqrt(3) * torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
        moved = math.inf
        while moved > 1e-9:
            mass, moment = normal_cells(levels)
            levels, moved = moment / mass, (moment / mass - levels).abs().max()
        return levels.float()

    def distortion(self) -> float:
        """E (Q(x) - x)^2 for a standard normal x: 1 - sum P(cell) X^2."""
        levels = self.table().double()
        mass, moment = normal_cells(levels)
        return (1 - 2 * (levels * moment).sum() + (mass * levels.square()).sum()).item()

    def __call__(self, rows: Tensor) -> Grid:
        rms = as_rows(rows).double().square().mean(1, keepdim=True).sqrt()
        return Grid(self.table()[None], rms.where(rms > 0, 1.0).clamp(min=torch.finfo(rows.dtype).tiny).to(rows.dtype))


def normal_cells(levels: Tensor) -> tuple[Tensor, Tensor]:
    """(P, E[x; cell]) of a standard normal x in the cell of each level: Phi(b) - Phi(a) and phi(a) - phi(b).

    >>> normal_cells(torch.tensor([-1.0, 1.0]))[0]
    tensor([0.5000, 0.5000])
    """
    edge = torch.full((1,), math.inf, dtype=levels.dtype)
    edges = torch.cat([-edge, (_checks.real_tensor(levels, "levels")[1:] + levels[:-1]) / 2, edge])
    density = torch.exp(-edges.square() / 2) / math.sqrt(2 * math.pi)
    return torch.special.ndtr(edges).diff(), -density.diff()
