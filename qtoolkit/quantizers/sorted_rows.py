"""Rows sorted once, so that the sums over any cell are two prefix sums apart, whatever the number of levels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.calibration import as_rows
from qtoolkit.quantizers.codebook import round_up


class SortedRows:
    """Sorted rows with prefix sums of weight and of weight times value: any cluster's sums are one subtraction away."""

    def __init__(self, rows: Tensor, weights: Tensor | None = None):
        rows = _checks.widened(as_rows(rows)).contiguous()
        if weights is None:
            self.values = torch.from_numpy(np.sort(rows.detach().numpy(), axis=1))  # numpy's sort is several times faster than torch's
            self.weight, products = None, self.values
        else:
            self.values, order = rows.sort(dim=1)
            h = checked_weights(rows, weights).gather(1, order)
            self.weight, products = _prefix(h), h * self.values
        self.moment = _prefix(products)
        self.square = (products * self.values).sum(1, keepdim=True, dtype=torch.float64)

    def cells(self, centroids: Tensor) -> Tensor:
        """(n_blocks, k + 1) positions where the cells of the centroids begin, and the end."""
        return self.cut(round_up((centroids[:, :-1] + centroids[:, 1:]) / 2, self.values.dtype))

    def cut(self, boundaries: Tensor) -> Tensor:
        """(n_blocks, k + 1) positions where the cells between k - 1 ascending boundaries begin, and the end."""
        blocks, size = self.values.shape
        inner = torch.searchsorted(self.values, boundaries.contiguous())
        return torch.cat([torch.zeros(blocks, 1, dtype=torch.int64), inner, torch.full((blocks, 1), size)], dim=1)

    def sums(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """(n_blocks, k) total weight and total weight times value of each cell."""
        weight = cells.double() if self.weight is None else self.weight.gather(1, cells)
        return weight.diff(dim=1), self.moment.gather(1, cells).diff(dim=1)

    def means(self, cells: Tensor, otherwise: Tensor) -> Tensor:
        """(n_blocks, k) mean of each cell; `otherwise` where a cell has no weight."""
        weight, moment = self.sums(cells)
        return torch.where(weight > 0, moment / weight.where(weight > 0, 1.0), otherwise)

    def error(self, centroids: Tensor, cells: Tensor) -> Tensor:
        """(n_blocks,) sum of h (w - c)^2 = sum h w^2 - 2 c sum h w + c^2 sum h."""
        weight, moment = self.sums(cells)
        return (self.square + (centroids * (centroids * weight - 2 * moment)).sum(1, keepdim=True)).clamp(min=0)[:, 0]


def checked_weights(rows: Tensor, weights: Tensor) -> Tensor:
    """Weights as float64 if there is one of 0 or more for every value, else raise."""
    if _checks.real_tensor(weights, "weights").shape != rows.shape or (weights < 0).any():
        raise ValueError(f"weights has shape {tuple(weights.shape)} and minimum {weights.min().item():g}, expected one weight of 0 "
                         f"or more for each value of rows {tuple(rows.shape)}")
    return weights.double()


def _prefix(x: Tensor) -> Tensor:
    """(n, m) -> (n, m + 1) sums of the first 0, 1, .., m values, in float64."""
    out = torch.zeros(x.shape[0], x.shape[1] + 1, dtype=torch.float64)
    torch.cumsum(x, dim=1, dtype=torch.float64, out=out[:, 1:])
    return out
