"""Weight sharing on a grid: all shared values of a layer are whole multiples of one learned step, and zero is left to pruning.

    W = step * codes,   codes in {-L, ..., -1, 1, ..., L} where the mask keeps a weight, 0 elsewhere

A code book of 2L values shrinks to one number, and the levels move together: that helps where few weights are left. The step is
learned with the gradient of LSQ (Esser et al. 2020), the weights with the straight-through estimator.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from qtoolkit.compression.pruning import weight_layers
from qtoolkit.quantizers import _checks


def grid_codes(weight: Tensor, step: Tensor | float, levels: int) -> Tensor:
    """Codes of the kept weights: round(w / step) within -levels..levels, where 0 gives way to +1 or -1; pruned weights have code 0.

    >>> grid_codes(torch.tensor([0.0, 0.1, -0.2, 0.9, -9.0]), step=0.5, levels=3).tolist()
    [0.0, 1.0, -1.0, 2.0, -3.0]
    """
    codes = torch.round(weight / step).abs().clamp(1, levels)
    return torch.where(weight == 0, torch.zeros_like(weight), codes.copysign(weight))


def fit_step(weight: Tensor, levels: int, rounds: int = 30) -> float:
    """The step of least squared error for the nonzero weights, by alternating codes and step from several starts.

    For fixed codes the best step is sum(w q) / sum(q^2). Raises ValueError when no weight is kept.
    """
    _checks.positive_int(levels, "levels")
    kept = _checks.real_tensor(weight.detach(), "weight")
    kept = kept[kept != 0].abs().double()
    if not kept.numel():
        raise ValueError("weight has no nonzero value, expected at least one kept weight")
    steps = [_settled(kept, kept.max().item() / most, levels, rounds) for most in range(1, 2 * levels + 1)]
    return min(steps, key=lambda step: (grid_codes(kept, step, levels) * step - kept).square().sum().item())


def _settled(kept: Tensor, step: float, levels: int, rounds: int) -> float:
    for _ in range(rounds):
        codes = grid_codes(kept, step, levels)
        step = ((kept * codes).sum() / codes.square().sum()).item()
    return step


class _OnGrid(torch.autograd.Function):
    """w, step -> step * codes. Gradients: straight through to w inside the grid; to the step, q - w / step inside and q outside."""

    @staticmethod
    def forward(ctx, weight, step, mask, levels):
        ratio = weight / step
        codes = grid_codes(weight, step, levels) * mask
        inside = (ratio.abs() <= levels + 0.5) & mask
        ctx.save_for_backward(codes - ratio * inside, inside)
        ctx.shrink = 1 / math.sqrt(max(int(mask.sum()), 1) * levels)
        return codes * step

    @staticmethod
    def backward(ctx, gradient):
        slope, inside = ctx.saved_tensors
        return gradient * inside, (gradient * slope).sum() * ctx.shrink, None, None


class Grid(nn.Module):
    """The parametrization W = step * codes(W'), with the step a parameter; the mask is where the weight was not 0."""

    def __init__(self, weight: Tensor, levels: int):
        super().__init__()
        self.levels = levels
        self.step = nn.Parameter(torch.tensor(fit_step(weight, levels)))
        self.register_buffer("mask", weight.detach() != 0)

    def forward(self, weight: Tensor) -> Tensor:
        return _OnGrid.apply(weight, self.step, self.mask, self.levels)


def grid_(model: nn.Module, levels: int | Mapping[str, int]) -> nn.Module:
    """Put the weights of every Linear and Conv layer with any on a learned grid, in place; `ungrid_` ends it, exactly.

    Build the optimizer after this call: each layer has gained the parameter `step`.

    See: book/chapters/19-a-network-in-a-file.ipynb#beyond-a-grid-and-a-context
    """
    layers = weight_layers(model)
    each = levels if isinstance(levels, Mapping) else dict.fromkeys(layers, levels)
    if set(each) - set(layers):
        raise ValueError(f"levels are given for {sorted(each)}, expected names among {list(layers)}")
    for name, most in each.items():
        if layers[name].weight.any():
            parametrize.register_parametrization(layers[name], "weight", Grid(layers[name].weight, most))
    return model


def ungrid_(model: nn.Module) -> nn.Module:
    """Turn layers on a grid back into plain ones, in place; each weight is exactly step * code."""
    for layer in weight_layers(model).values():
        if parametrize.is_parametrized(layer, "weight") and isinstance(layer.parametrizations.weight[0], Grid):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model
