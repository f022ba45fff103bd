"""k-means on the real line: sort once, then every step is a search for k - 1 boundaries and a difference of prefix sums.

No distance matrix and no list of assignments: beside the sorted values there is one array of prefix sums, whatever k is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.calibration import as_rows
from qtoolkit.quantizers.codebook import Grid
from qtoolkit.quantizers.sorted_rows import SortedRows


@dataclass(frozen=True)
class Clusters:
    """centroids: (n_blocks, k), ascending. errors: (steps + 1, n_blocks), the (weighted) squared error before each step."""

    centroids: Tensor
    errors: Tensor


def linear_init(rows: Tensor, k: int) -> Tensor:
    """k centroids evenly spaced from the smallest to the largest value. rows: sorted. Source: Han et al. 2016, section 3.2.

    See: book/chapters/06-non-uniform-quantization.ipynb#k-means
    See: book/chapters/17-weight-sharing.ipynb#where-k-means-starts

    >>> linear_init(torch.tensor([[0.0, 1, 1, 1, 6]]), 3)
    tensor([[0., 3., 6.]], dtype=torch.float64)
    """
    lo, hi = _sorted(rows, k)[:, :1], rows[:, -1:]
    return lo.double() + (hi.double() - lo.double()) * torch.linspace(0, 1, k, dtype=torch.float64)


def density_init(rows: Tensor, k: int) -> Tensor:
    """k quantiles, evenly spaced on the distribution function. rows: sorted. Source: Han et al. 2016, section 3.2.

    See: book/chapters/06-non-uniform-quantization.ipynb#k-means
    See: book/chapters/17-weight-sharing.ipynb#where-k-means-starts

    >>> density_init(torch.tensor([[0.0, 1, 1, 1, 6]]), 3)
    tensor([[0., 1., 6.]], dtype=torch.float64)
    """
    position = (torch.arange(k, dtype=torch.float64) + 0.5) / k * _sorted(rows, k).shape[1]
    return rows[:, position.long()].double()


@dataclass(frozen=True)
class ForgyInit:
    """k of the values themselves, drawn at random without replacement. Source: Han et al. 2016, section 3.2.

    See: book/chapters/06-non-uniform-quantization.ipynb#k-means
    See: book/chapters/17-weight-sharing.ipynb#where-k-means-starts

    >>> ForgyInit(seed=0)(torch.tensor([[0.0, 1, 2, 3, 4]]), 5)
    tensor([[0., 1., 2., 3., 4.]], dtype=torch.float64)
    """

    seed: int = 0

    def __call__(self, rows: Tensor, k: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [torch.as_tensor(np.sort(_draw(rows.shape[1], k, generator))) for _ in _sorted(rows, k)]
        return rows.gather(1, torch.stack(drawn)).double()


def kmeans(rows: Tensor, k: int, init: Callable[[Tensor, int], Tensor] = linear_init, weights: Tensor | None = None,
           steps: int = 300) -> Clusters:
    """Lloyd's algorithm for each row: assign every value to the nearest centroid, move centroids to the mean, repeat.

        min over C of sum_i h_i (w_i - C_near(i))^2,     C_j = sum h_i w_i / sum h_i over the values of cluster j

    rows: (n_blocks, block_size). weights h: shaped like rows, for instance the diagonal of the Hessian; None for 1.
    init(sorted rows, k) places the first centroids. An empty cluster keeps its centroid. Assignment is exact; stops when no
    value changes its cluster, at the latest after `steps`. Raises TypeError or ValueError for rows, k or weights that do not fit.
    Source: Han, Mao, Dally 2016, section 3.1; weights: Choi, El-Khamy, Lee 2017, section 3.
    See: book/chapters/06-non-uniform-quantization.ipynb#k-means
    See: book/chapters/06-non-uniform-quantization.ipynb#weights-that-matter-more

    >>> kmeans(torch.tensor([[0.0, 1.0, 9.0, 11.0]]), k=2).centroids
    tensor([[ 0.5000, 10.0000]])
    """
    data = SortedRows(rows, weights)
    centroids = _start(init(data.values, _cluster_count(k, rows)), (len(rows), k))
    errors, cells = [], None
    for _ in range(_checks.positive_int(steps, "steps")):
        cells, before = data.cells(centroids), cells
        sums = data.sums(cells)
        errors.append(data.error(centroids, sums))
        if before is not None and torch.equal(cells, before):
            break
        centroids = data.means(sums, otherwise=centroids)
    return Clusters(centroids.to(data.values.dtype), torch.stack([*errors, data.error(centroids, data.sums(data.cells(centroids)))]))


@dataclass(frozen=True)
class KMeans:
    """Choose levels by k-means: `Codebook.fit(x, KMeans(k=16))`.

    See: book/chapters/06-non-uniform-quantization.ipynb#k-means

    >>> KMeans(k=2)(torch.tensor([[0.0, 1.0, 9.0, 11.0]])).levels
    tensor([[ 0.5000, 10.0000]])
    """

    k: int
    init: Callable[[Tensor, int], Tensor] = linear_init
    weights: Tensor | None = None
    steps: int = 300

    def __call__(self, rows: Tensor) -> Grid:
        return Grid(kmeans(rows, self.k, self.init, self.weights, self.steps).centroids)


def _start(centroids: Tensor, shape: tuple[int, int]) -> Tensor:
    if _checks.real_tensor(centroids, "init(rows, k)").shape != shape:
        raise ValueError(f"init(rows, k) has shape {tuple(centroids.shape)}, expected (n_blocks, k) = {shape}")
    return centroids.double().sort(1).values


def _draw(n: int, k: int, generator: torch.Generator) -> np.ndarray:
    if k > n:
        raise ValueError(f"k is {k}, expected at most the {n} values of a row: Forgy draws without replacement")
    return torch.randperm(n, generator=generator)[:k].numpy()


def _cluster_count(k: int, rows: Tensor) -> int:
    if _checks.positive_int(k, "k") > 2**_checks.MAX_BITS:
        raise ValueError(f"k is {k}, expected at most {2**_checks.MAX_BITS} clusters")
    return k


def _sorted(rows: Tensor, k: int) -> Tensor:
    _checks.positive_int(k, "k")
    if (as_rows(rows).diff(dim=1) < 0).any():
        raise ValueError("rows is not sorted, expected ascending rows; use rows.sort(1).values")
    return rows
