"""Three levels: -a, 0 and a."""

from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.quantizers.calibration import as_rows
from qtoolkit.quantizers.codebook import Grid


@dataclass(frozen=True)
class Ternary:
    r"""Levels -a, 0, a for each block: 0 where |w| <= D, and a is the mean of the |w| above.

        D = factor mean |w|,    a = mean of |w| > D

    For given D no other a has a smaller squared error. factor = 0.7 is the paper's, a compromise between what is best for uniform weights,
    0.667, for Gaussian, 0.765, and for Laplacian ones, 1. `factor=None` finds the best D of each block by sorting: of the k largest, with the
    sum P_k, the error is ||w||^2 - P_k^2 / k, so the largest P_k^2 / k wins; then D = a / 2, and every weight takes its nearest level.
    A block of zeros gets a = 1 and stays zero. Raises ValueError for a negative factor.
    Source: Li, Zhang and Liu 2016 (ternary weight networks), section 2, equations 3 to 6.

    >>> Ternary()(torch.tensor([[0.1, -2.0, 1.0, -0.3]])).levels
    tensor([[-1.5000,  0.0000,  1.5000]])
    """

    factor: float | None = 0.7

    def __post_init__(self):
        if self.factor is not None and not 0 <= self.factor < float("inf"):
            raise ValueError(f"factor is {self.factor}, expected 0 or more, or None for the best threshold of each block")

    def __call__(self, rows: Tensor) -> Grid:
        sizes = as_rows(rows).abs()
        if self.factor is None:
            return _grid(_best_size(sizes))
        threshold = self.factor * sizes.mean(1, keepdim=True)
        kept = sizes > threshold
        size = (sizes * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
        above = torch.nextafter(threshold, torch.full_like(threshold, float("inf")))  # a weight at the threshold is 0
        return _grid(size)._replace(boundaries=torch.cat([-threshold, above], 1))


def _best_size(sizes: Tensor) -> Tensor:
    """a of the best ternary levels, (n_blocks, 1)."""
    sums = sizes.double().sort(1, descending=True).values.cumsum(1)
    count = torch.arange(1, sizes.shape[1] + 1)
    best = (sums**2 / count).argmax(1, keepdim=True)
    return (sums.gather(1, best) / (best + 1)).to(sizes.dtype)


def _grid(size: Tensor) -> Grid:
    size = torch.where(size > 0, size, 1.0)
    return Grid(torch.cat([-size, torch.zeros_like(size), size], 1))
