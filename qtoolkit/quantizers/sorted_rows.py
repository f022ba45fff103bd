"""Rows sorted once, so that the sums over any cell are two prefix sums apart, whatever the number of levels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.calibration import as_rows
from qtoolkit.quantizers.codebook import round_up

Sums = tuple[np.ndarray, np.ndarray]
_PART = 1 << 20     # products summed together: a long row needs no second copy of itself


class SortedRows:
    """Sorted rows with prefix sums of weight and of weight times value: any cluster's sums are one subtraction away.

    k-means asks for a few numbers hundreds of times; numpy answers such small questions several times faster than torch.
    """

    def __init__(self, rows: Tensor, weights: Tensor | None = None):
        rows = _checks.widened(as_rows(rows)).detach().contiguous()
        if weights is None:
            self.values = torch.from_numpy(np.sort(rows.numpy(), axis=1))  # numpy's sort is several times faster than torch's
            self._weight, products = None, self.values
        else:
            self.values, order = rows.sort(dim=1)
            h = checked_weights(rows, weights).gather(1, order)
            self._weight, products = _prefix(h).numpy(), h * self.values
        self._moment = _prefix(products).numpy()
        parts = zip(products.split(_PART, dim=1), self.values.split(_PART, dim=1))
        self._square = sum((p * v).sum(1, keepdim=True, dtype=torch.float64) for p, v in parts).numpy()
        self._row = (rows.shape[1] + 1) * np.arange(len(rows))[:, None]     # where a row's prefix sums begin

    def cells(self, centroids: Tensor) -> Tensor:
        """(n_blocks, k + 1) positions where the cells of the centroids begin, and the end."""
        return self.cut(round_up((centroids[:, :-1] + centroids[:, 1:]) / 2, self.values.dtype))

    def cut(self, boundaries: Tensor) -> Tensor:
        """(n_blocks, k + 1) positions where the cells between k - 1 ascending boundaries begin, and the end."""
        blocks, size = self.values.shape
        cells = np.zeros((blocks, boundaries.shape[1] + 2), dtype=np.int64)
        cells[:, -1] = size
        if blocks == 1:
            cells[0, 1:-1] = self.values[0].numpy().searchsorted(boundaries[0].numpy())
        else:
            cells[:, 1:-1] = torch.searchsorted(self.values, boundaries.contiguous()).numpy()
        return torch.from_numpy(cells)

    def sums(self, cells: Tensor) -> Sums:
        """(n_blocks, k) total weight and total weight times value of each cell."""
        cells = cells.numpy()
        at = cells + self._row
        weight = cells.astype(np.float64) if self._weight is None else self._weight.take(at)
        moment = self._moment.take(at)
        return weight[:, 1:] - weight[:, :-1], moment[:, 1:] - moment[:, :-1]

    @staticmethod
    def means(sums: Sums, otherwise: Tensor) -> Tensor:
        """(n_blocks, k) mean of each cell; `otherwise` where a cell has no weight."""
        weight, moment = sums
        return torch.from_numpy(np.divide(moment, weight, out=otherwise.numpy().astype(np.float64), where=weight > 0))

    def error(self, centroids: Tensor, sums: Sums) -> Tensor:
        """(n_blocks,) sum of h (w - c)^2 = sum h w^2 - 2 c sum h w + c^2 sum h."""
        (weight, moment), centroids = sums, centroids.numpy()
        change = torch.from_numpy(centroids * (centroids * weight - 2 * moment)).sum(1, keepdim=True).numpy()
        return torch.from_numpy(np.maximum(self._square + change, 0)[:, 0])


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
