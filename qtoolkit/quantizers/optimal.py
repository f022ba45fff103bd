"""The best possible levels of a row: exact one-dimensional k-means by dynamic programming.

Lloyd's algorithm stops in some local optimum; on the real line the global one can be computed, because every cluster is a run
of the sorted values.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtoolkit.quantizers.calibration import as_rows
from qtoolkit.quantizers.clusters import Clusters, _cluster_count
from qtoolkit.quantizers.codebook import Grid
from qtoolkit.quantizers.sorted_rows import checked_weights


def optimal_kmeans(rows: Tensor, k: int, weights: Tensor | None = None) -> Clusters:
    """The centroids with the least squared error of all, for each row.

        D_j(i) = min over t <= i of D_(j-1)(t) + error of one cluster holding the sorted values t .. i-1

    The best t grows with i, so each layer j is solved by halving: O(k n log n) for n different values, O(k n) memory. Meant for
    up to about a million values; for more, `kmeans` comes close. weights as in `kmeans`.
    Raises TypeError or ValueError for rows, k or weights that do not fit.
    Source: Wang and Song 2011 (Ckmeans.1d.dp); the halving: Gronlund et al. 2017.
    See: book/chapters/06-non-uniform-quantization.ipynb#k-means

    >>> optimal_kmeans(torch.tensor([[0.0, 1.0, 9.0, 11.0]]), k=2).centroids
    tensor([[ 0.5000, 10.0000]])
    """
    _cluster_count(k, as_rows(rows))
    weights = torch.ones_like(rows, dtype=torch.float64) if weights is None else checked_weights(rows, weights)
    solved = [_solve_row(row.double().numpy(), h.numpy(), k) for row, h in zip(rows.detach(), weights)]
    centroids = torch.as_tensor(np.stack([c for c, _ in solved])).to(rows.dtype)
    return Clusters(centroids, torch.tensor([[error for _, error in solved]], dtype=torch.float64))


@dataclass(frozen=True)
class OptimalKMeans:
    """Choose levels by exact k-means: `Codebook.fit(x, OptimalKMeans(k=16))`.

    See: book/chapters/06-non-uniform-quantization.ipynb#k-means
    """

    k: int
    weights: Tensor | None = None

    def __call__(self, rows: Tensor) -> Grid:
        return Grid(optimal_kmeans(rows, self.k, self.weights).centroids)


def _solve_row(values: np.ndarray, h: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """(k,) ascending centroids and their error. Surplus centroids repeat the largest one."""
    values, which = np.unique(values, return_inverse=True)
    center = values.mean()  # sums of squares lose fewer digits around the center
    sums = _PrefixSums(values - center, np.bincount(which, h))
    n, layers = len(values), min(k, len(values))
    best = sums.error(np.zeros(n + 1, int), np.arange(n + 1))
    starts = []
    for _ in range(layers - 1):
        best, start = _next_layer(best, sums)
        starts.append(start)
    ends = [n]
    for start in reversed(starts):
        ends.append(start[ends[-1]])
    edges = np.array([0, *reversed(ends)])
    centroids = sums.mean(edges[:-1], edges[1:]) + center
    return np.concatenate([centroids, np.full(k - len(centroids), centroids[-1])]), float(best[n])


class _PrefixSums:
    """Sums of h, h x and h x^2 over any run of the sorted values, each by one subtraction."""

    def __init__(self, x: np.ndarray, h: np.ndarray):
        self.x = x
        self.weight, self.moment, self.square = (np.concatenate([[0.0], np.cumsum(h * x**p)]) for p in range(3))

    def error(self, first: np.ndarray, end: np.ndarray) -> np.ndarray:
        """sum h x^2 - (sum h x)^2 / sum h over the values first .. end-1."""
        weight, moment = self.weight[end] - self.weight[first], self.moment[end] - self.moment[first]
        square = self.square[end] - self.square[first]
        return np.maximum(square - np.divide(moment**2, weight, out=np.zeros_like(moment), where=weight > 0), 0)

    def mean(self, first: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The mean of each run; its first value if the run has no weight."""
        weight, moment = self.weight[end] - self.weight[first], self.moment[end] - self.moment[first]
        run_start = self.x[np.minimum(first, len(self.x) - 1)]
        return np.where(weight > 0, np.divide(moment, weight, out=np.zeros_like(moment), where=weight > 0), run_start)


def _next_layer(best: np.ndarray, sums: _PrefixSums) -> tuple[np.ndarray, np.ndarray]:
    """Allow one cluster more: the new least errors and, for each i, where the last cluster starts.

    The ends i are solved in rounds: every 2^r-th first, then those halfway between two solved ones, whose answers bound theirs.
    """
    n = len(best) - 1
    new, start = np.zeros(n + 1), np.zeros(n + 1, int)
    stride = 1 << max(n, 1).bit_length()
    while stride:
        ends = np.arange(stride, n + 1, 2 * stride)
        if len(ends):
            lowest = start[ends - stride]
            after = np.where(ends + stride <= n, start[np.minimum(ends + stride, n)], ends)
            new[ends], start[ends] = _least(best, sums, ends, lowest, np.minimum(after, ends))
        stride //= 2
    return new, start


def _least(best: np.ndarray, sums: _PrefixSums, ends: np.ndarray, lowest: np.ndarray, highest: np.ndarray):
    """For each end the least of best[t] + error(t, end) over lowest <= t <= highest, and the first t that attains it."""
    lengths = highest - lowest + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    owner = np.repeat(np.arange(len(ends)), lengths)
    t = np.arange(lengths.sum()) - offsets[owner] + lowest[owner]
    total = best[t] + sums.error(t, ends[owner])
    least = np.minimum.reduceat(total, offsets)
    attained = np.flatnonzero(total == least[owner])
    return least, t[attained[np.searchsorted(owner[attained], np.arange(len(ends)))]]
