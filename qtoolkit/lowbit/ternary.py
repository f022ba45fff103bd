"""Three levels: -a, 0 and a, or two sizes of their own that learn.

    Codebook.fit(w, Ternary(), PerChannel())     sizes and zeros from the weights alone
    trained_ternary(w, positive, negative)       sizes that are parameters, as in TTQ
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
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


def trained_ternary(weight: Tensor, positive: Tensor, negative: Tensor, share: float = 0.05) -> Tensor:
    r"""positive where w > D, -negative where w < -D, 0 between; D = share max |w|. Both sizes learn, and the weights behind them.

        d/d positive = sum of the gradients where w > D,        d/d negative = - sum where w < -D
        d/dw = positive, 1 or negative times the gradient, in the three places

    A weight at 0 that wants to leave learns at full speed, one that has left as fast as its size is large. weight: real; positive, negative:
    one number each, greater than 0. The paper prints the second sum without its minus.
    Raises TypeError or ValueError for what is not real and finite, sizes of 0 or less, or a share outside 0..1.
    Source: Zhu et al. 2017 (TTQ), section 3, equations 6 to 9.

    >>> trained_ternary(torch.tensor([-2.0, 0.05, 1.0]), torch.tensor(1.5), torch.tensor(0.5))
    tensor([-0.5000,  0.0000,  1.5000])
    """
    for name, size in (("positive", positive), ("negative", negative)):
        _checks.scale_tensor(size.detach(), name)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected 0 to 1")
    return _TrainedTernary.apply(_checks.real_tensor(weight, "weight"), positive, negative, share)


class _TrainedTernary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, positive, negative, share):
        threshold = share * weight.abs().max()
        above, below = weight > threshold, weight < -threshold
        ctx.save_for_backward(above, below, positive, negative)
        return above * positive - below * negative

    @staticmethod
    def backward(ctx, gradient):
        above, below, positive, negative = ctx.saved_tensors
        speed = torch.where(above, positive, torch.where(below, negative, 1.0))
        return speed * gradient, (gradient * above).sum().reshape(positive.shape), -(gradient * below).sum().reshape(negative.shape), None
