"""Levels, intervals and clips that training moves (survey III-F): each forward is on the grid, each backward says where to go."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.codebook import midpoints


class _Lookup(torch.autograd.Function):
    """y = levels[codes], with the gradient of the levels summed over the values that use them."""

    @staticmethod
    def forward(ctx, x, levels):
        codes = torch.bucketize(x, midpoints(levels), right=True)
        ctx.save_for_backward(codes, (x >= levels[0]) & (x <= levels[-1]))
        ctx.count = len(levels)
        return levels[codes]

    @staticmethod
    def backward(ctx, grad):
        codes, inside = ctx.saved_tensors
        summed = torch.zeros(ctx.count, dtype=grad.dtype).index_add_(0, codes.flatten(), grad.flatten())
        return grad * inside, summed


class LearnedLevels(nn.Module):
    """A code book whose levels are parameters: y_i = X_near(i), dL/dX_k = sum of dL/dy_i over the values of level k.

    The sum, not the mean: it is the derivative of the loss. x receives the gradient straight through between the first and
    the last level, nothing outside. Levels must stay ascending; `sort_()` restores that after a step that crossed two.
    Source: Han, Mao, Dally 2016, section 3.3 (trained centroids); Zhang et al. 2018 (LQ-Nets).
    See: book/chapters/06-non-uniform-quantization.ipynb#levels-that-learn

    >>> layer = LearnedLevels(torch.tensor([-1.0, 0.0, 1.0]))
    >>> layer(torch.tensor([0.9, 0.8, -0.1])).sum().backward()
    >>> layer.levels.grad
    tensor([0., 1., 2.])
    """

    def __init__(self, levels: Tensor):
        super().__init__()
        levels = _checks.widened(_checks.real_tensor(levels, "levels"))
        if levels.dim() != 1 or (levels.diff() < 0).any():
            raise ValueError(f"levels has shape {tuple(levels.shape)}, expected one ascending row of levels")
        self.levels = nn.Parameter(levels.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return _Lookup.apply(_checks.real_tensor(x).to(self.levels.dtype), self.levels)

    @torch.no_grad()
    def sort_(self) -> LearnedLevels:
        """Put the levels in ascending order again."""
        self.levels.copy_(self.levels.sort().values)
        return self


class _Round(torch.autograd.Function):
    """round(x), with the gradient of x."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


class LearnedInterval(nn.Module):
    """Quantization interval learning: |x| below c - d is pruned, above c + d clipped, and q steps lie between.

        t(x) = sign(x) clip(|x|/(2d) - c/(2d) + 1/2, 0, 1)^gamma,     y = round(q t) / q,     q = 2^(bits-1) - 1

    The center c and the half width d learn through t; round passes the gradient straight through. Values that are pruned or
    clipped give none. gamma bends the grid and learns too if a value is given (the paper does so for weights); None leaves it
    at 1. y is in -1..1: the layer's own scale follows. Source: Jung et al. 2019 (QIL), equations 2 and 3.
    See: book/chapters/06-non-uniform-quantization.ipynb#levels-that-learn

    >>> LearnedInterval(bits=3, center=0.5, half_width=0.5)(torch.tensor([-2.0, 0.4, 1.0]))
    tensor([-1.0000,  0.3333,  1.0000], grad_fn=<MulBackward0>)
    """

    def __init__(self, bits: int, center: float, half_width: float, gamma: float | None = None):
        super().__init__()
        self.steps = 2 ** (_checks.bit_width(bits, smallest=2) - 1) - 1
        self.center = nn.Parameter(_checks.real_number(center, "center"))
        self.half_width = nn.Parameter(_checks.scale_tensor(half_width, "half_width"))
        self.gamma = None if gamma is None else nn.Parameter(_checks.scale_tensor(gamma, "gamma"))

    def forward(self, x: Tensor) -> Tensor:
        inner = (_checks.real_tensor(x).abs() - self.center) / (2 * self.half_width) + 0.5
        t = torch.where((inner > 0) & (inner < 1), inner, inner.detach().clamp(0, 1))
        curved = t if self.gamma is None else t.clamp(min=torch.finfo(t.dtype).tiny) ** self.gamma
        return x.sign() * (_Round.apply(self.steps * curved) / self.steps)


class _ClippedTable(torch.autograd.Function):
    """y = s Q(x/s) on a table within -1..1, with the reparametrized gradient of the clip s."""

    @staticmethod
    def forward(ctx, x, clip, table):
        unit = x / clip
        y = table[torch.bucketize(unit, midpoints(table), right=True)]
        ctx.save_for_backward(unit, y)
        return y * clip

    @staticmethod
    def backward(ctx, grad):
        unit, y = ctx.saved_tensors
        outside = unit.abs() > 1
        slope = torch.where(outside, unit.sign(), y - unit)
        return grad * ~outside, (grad * slope).sum(), None


class LearnedClip(nn.Module):
    """A fixed table of levels within -1..1 (APoT, uniform, ...) under a learned clip s: y = s Q(clip(x/s, -1, 1)).

        dy/ds = sign(x) outside the clip,  Q(x/s) - x/s inside;     dy/dx = 0 outside, 1 inside

    Source: Li, Dong, Wang 2020 (APoT), section 3.2 (reparametrized clipping function).
    See: book/chapters/06-non-uniform-quantization.ipynb#levels-that-learn

    >>> layer = LearnedClip(torch.tensor([-1.0, 0.0, 1.0]), clip=2.0)
    >>> layer(torch.tensor([5.0, 1.5])).sum().backward()
    >>> layer.clip.grad
    tensor(1.2500)
    """

    def __init__(self, table: Tensor, clip: float = 1.0):
        super().__init__()
        table = _checks.widened(_checks.real_tensor(table, "table"))
        if table.dim() != 1 or (table.diff() < 0).any() or table.abs().max() > 1:
            raise ValueError(f"table has shape {tuple(table.shape)} and largest magnitude {table.abs().max().item():g}, "
                             "expected one ascending row within -1..1")
        self.register_buffer("table", table.clone())
        self.clip = nn.Parameter(_checks.scale_tensor(clip, "clip"))

    def forward(self, x: Tensor) -> Tensor:
        return _ClippedTable.apply(_checks.real_tensor(x).to(self.table.dtype), self.clip, self.table)


def standardize(weight: Tensor) -> Tensor:
    """(w - mean w) / std w, which APoT applies before its clip so that s means the same in every layer; 0 if all are equal.

    Source: Li, Dong, Wang 2020, section 3.3.
    See: book/chapters/06-non-uniform-quantization.ipynb#sums-of-powers-of-two

    >>> standardize(torch.tensor([1.0, 3.0]))
    tensor([-0.7071,  0.7071])
    """
    centered = _checks.real_tensor(weight, "weight") - weight.mean()
    spread = centered.std() if weight.numel() > 1 else centered.new_zeros(())
    return centered / spread.where(spread > 0, 1.0)
