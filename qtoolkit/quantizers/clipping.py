"""Ranges found by search: the clip that minimizes the squared error, and the clip that keeps most information."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.affine import choose_qparams, fake_quantize
from qtoolkit.quantizers.calibration import Range, _weights, as_rows
from qtoolkit.quantizers.histogram import Histogram
from qtoolkit.quantizers.scheme import Scheme, checked_scheme


@dataclass(frozen=True)
class MSE:
    """The range whose codes reproduce the values with the least squared error: argmin over (lo, hi) of E (Q(x) - x)^2.

    The min/max range is shrunk to k/`steps` of itself, all k are tried, then `steps` finer ones around the best. Without
    symmetry the ends are shrunk together and each on its own, in both orders. The whole range is among the candidates, so the
    result is never worse than min/max. torch's HistogramObserver minimizes an estimate of the same error, always for the 256 codes of its dtype.
    Source: Gholami et al. 2021, section III-C; Choukroun et al. 2019 (OMSE).
    See: book/chapters/03-calibration.ipynb#least-squared-error

    >>> rows = torch.linspace(-1, 1, 100).repeat(10)[None]
    >>> rows[0, 0] = 10.0
    >>> lo, hi = MSE(Scheme(bits=2))(rows)
    >>> bool(hi < 5)
    True
    """

    scheme: Scheme = field(default_factory=Scheme)
    steps: int = 64

    def __post_init__(self):
        checked_scheme(self.scheme), _checks.positive_int(self.steps, "steps")

    def __call__(self, rows: Tensor, weights: Tensor | None = None) -> Range:
        rows, weights = _checks.widened(as_rows(rows)), _weights(as_rows(rows), weights)
        seen = rows.where(weights > 0, 0.0)
        lo, hi = seen.amin(1, keepdim=True).clamp(max=0), seen.amax(1, keepdim=True).clamp(min=0)
        if self.scheme.symmetric:
            return self._shrink(rows, weights, lo, hi, 1, 1)
        together_first = self._descend(rows, weights, lo, hi, [(1, 1), (0, 1), (1, 0)])
        apart_first = self._descend(rows, weights, lo, hi, [(0, 1), (1, 0), (1, 1)])
        better = self.loss(rows, weights, *together_first) <= self.loss(rows, weights, *apart_first)
        return tuple(one.where(better, other) for one, other in zip(together_first, apart_first))

    def _descend(self, rows: Tensor, weights: Tensor, lo: Tensor, hi: Tensor, moves: list[tuple[int, int]]) -> Range:
        """One search after another, each over the ends named in its move (lo, hi)."""
        for move_lo, move_hi in moves:
            lo, hi = self._shrink(rows, weights, lo, hi, move_lo, move_hi)
        return lo, hi

    def _shrink(self, rows: Tensor, weights: Tensor, lo: Tensor, hi: Tensor, move_lo: int, move_hi: int) -> Range:
        """The best of the ranges whose moving ends are multiplied by a factor between 0 and 1, for each row."""
        best, least = torch.ones_like(lo), self.loss(rows, weights, lo, hi)
        coarse, fine = torch.arange(1, self.steps) / self.steps, torch.linspace(-1, 1, self.steps) / self.steps
        for offsets in (coarse, fine):
            center = best if offsets is fine else torch.zeros_like(best)
            for offset in offsets:
                candidate = (center + offset).clamp(1 / self.steps**2, 1)
                loss = self.loss(rows, weights, lo * candidate**move_lo, hi * candidate**move_hi)
                best, least = best.where(least <= loss, candidate), torch.minimum(least, loss)
        return lo * best**move_lo, hi * best**move_hi

    def loss(self, rows: Tensor, weights: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
        """(n_blocks, 1) sum of weight times squared error."""
        scale, zero_point = choose_qparams(lo, hi, self.scheme)
        error = fake_quantize(rows, scale, zero_point, self.scheme.qmin, self.scheme.qmax) - rows
        return (error.square() * weights).sum(1, keepdim=True)


@dataclass(frozen=True)
class KL:
    """The clip T that keeps most information: argmin over T of KL(P || Q), where

    P is the histogram of |x| up to T with everything beyond T added to its last bin, and
    Q is that histogram without the addition, averaged over the bins that share a code (empty bins stay empty).

    A row with negative values has 2^(bits-1) codes for |x|, one without has 2^bits. Range: -T .. T, no wider than the data.
    Zero has a code of its own whatever T is, so the first bin counts as much as its neighbor (NVIDIA's calibrator does the same): after
    a ReLU it would hold half of all values, and KL would sacrifice everything else to keep that one bin sharp. T is at least a 16th of
    the histogram, bin 128 of 2048 as published: with few codes a tiny T, where hardly two bins share a code, would seem to lose nothing.
    ONNX Runtime does the same on a signed histogram, but divides bins among codes by whole numbers, drops the remainder
    from Q, truncates Q to integers and is one bin off center, so its T differs by some percent; see the tests.
    Source: Migacz 2017 (TensorRT); Gholami et al. 2021, section III-C.
    See: book/chapters/03-calibration.ipynb#kl-what-the-entropy-calibration-compares
    """

    bits: int = 8
    bins: int = 2048

    def __post_init__(self):
        _checks.bit_width(self.bits)
        if _checks.positive_int(self.bins, "bins") < 2**self.bits:
            raise ValueError(f"bins is {self.bins}, expected at least one bin a code: {2**self.bits}")

    def __call__(self, rows: Tensor, weights: Tensor | None = None) -> Range:
        histogram = Histogram(self.bins)
        histogram.add(rows, _weights(as_rows(rows), weights))
        levels = 2 ** (self.bits - 1) if (histogram.lo < 0).any() else 2**self.bits
        counts = histogram.magnitudes()
        counts[:, 0] = counts[:, 1]
        clip = kl_bins(counts, levels, least=max(self.bins // 16, 1))[:, None] * (histogram.top / self.bins)
        return torch.maximum(histogram.lo, -clip).to(rows.dtype), torch.minimum(histogram.hi, clip).to(rows.dtype)


def kl_bins(counts: Tensor, levels: int, least: int = 1) -> Tensor:
    """How many bins of the histogram of |x| to keep: argmin over i of KL(P_i || Q_i), for each row.

    counts: (n_blocks, bins), real. levels: codes for the bins that are kept. Returns (n_blocks,) int64, no less than `levels` and `least`.
    Raises TypeError or ValueError for counts that are no such matrix or fewer bins than that.
    See: book/chapters/03-calibration.ipynb#kl-what-the-entropy-calibration-compares

    >>> kl_bins(torch.tensor([[5.0, 5, 5, 5, 0, 0, 0, 0]]), levels=2)
    tensor([4])
    """
    counts = as_rows(counts).double()
    bins, first = counts.shape[1], max(_checks.positive_int(levels, "levels"), _checks.positive_int(least, "least"))
    if first > bins:
        raise ValueError(f"levels is {levels} and least {least}, expected at most the {bins} bins of the histogram")
    return torch.stack([_divergences(row, torch.arange(first, bins + 1), levels).argmin() for row in counts]) + first


def _divergences(counts: Tensor, kept: Tensor, levels: int) -> Tensor:
    """`kl_divergence` of one row (bins,) for many thresholds (m,) at once, from sums over the bins of each code: a difference of running sums."""
    sums, used, logs = (torch.cat([x.new_zeros(1), x.cumsum(0)]) for x in (counts, (counts > 0).double(), torch.xlogy(counts, counts)))
    ends = (torch.arange(levels + 1) * kept[:, None] + levels - 1) // levels  # code c holds bins ends[c] .. ends[c + 1] - 1
    mass, share = sums[ends].diff(), used[ends].diff()
    last, tail = counts[kept - 1], sums[-1] - sums[kept]
    share[:, -1] += (last == 0) & (tail > 0)
    q = mass / share.clamp(min=1)
    mass[:, -1] += tail  # now that of P
    p_log_p = logs[kept] - torch.xlogy(last, last) + torch.xlogy(last + tail, last + tail)
    return ((p_log_p - torch.xlogy(mass, q).sum(1)) / sums[-1] + (sums[kept] / sums[-1]).log()).nan_to_num(nan=torch.inf, posinf=torch.inf)


def kl_divergence(counts: Tensor, kept: int, levels: int) -> Tensor:
    """KL(P || Q) for each row when the first `kept` bins are kept; infinite where Q has no mass but P has.

    counts: (n_blocks, bins), real. Returns (n_blocks,) float64, in nats. Raises TypeError or ValueError for counts that are
    no such matrix, and unless 1 <= levels <= kept <= bins.
    See: book/chapters/03-calibration.ipynb#kl-what-the-entropy-calibration-compares

    >>> kl_divergence(torch.tensor([[4.0, 2, 1, 1]]), kept=4, levels=2)
    tensor([0.0425], dtype=torch.float64)
    """
    counts = as_rows(counts).double()
    if not 1 <= levels <= kept <= counts.shape[1]:
        raise ValueError(f"kept is {kept} and levels {levels}, expected 1 <= levels <= kept <= {counts.shape[1]} bins")
    inside = counts[:, :kept]
    p = torch.cat([inside[:, :-1], counts[:, kept - 1:].sum(1, keepdim=True)], dim=1)
    code = (torch.arange(kept) * levels // kept).expand_as(p)
    used = (p > 0).double()
    mass = torch.zeros(len(p), levels, dtype=p.dtype).scatter_add_(1, code, inside)
    share = torch.zeros_like(mass).scatter_add_(1, code, used)
    q = (mass / share.clamp(min=1)).gather(1, code) * used
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum(1).nan_to_num(nan=torch.inf, posinf=torch.inf)
