"""A histogram of each row that grows with the data but not in memory."""

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.calibration import as_rows


class Histogram:
    """Counts of the values of each row in 2 * `half` equal bins over (-top, top), together with the exact ends.

    top is a power of two for each row. When a value does not fit, top doubles and neighboring bins merge in pairs; 0 stays an
    edge. So the histogram is the same in whatever batches and order the values come, and it never needs more memory.
    See: book/chapters/03-calibration.ipynb#one-pass-bounded-memory

    >>> h = Histogram(half=2)
    >>> h.add(torch.tensor([[0.1, -0.3]]))
    >>> h.add(torch.tensor([[1.6]]))
    >>> h.edges()
    tensor([[-2., -1.,  0.,  1.,  2.]], dtype=torch.float64)
    >>> h.counts
    tensor([[0., 1., 1., 1.]], dtype=torch.float64)
    """

    def __init__(self, half: int = 2048):
        if _checks.positive_int(half, "half") % 2:
            raise ValueError(f"half is {half}, expected an even number of bins: bins merge in pairs")
        self.half = half
        self.counts: Tensor | None = None

    def add(self, rows: Tensor, weights: Tensor | float = 1.0) -> None:
        """Count the values of rows (n_blocks, any), each `weights` times; n_blocks must stay the same."""
        rows = as_rows(rows).double()
        if self.counts is None:
            self._start(rows.shape[0])
        if rows.shape[0] != self.counts.shape[0]:
            raise ValueError(f"{rows.shape[0]} rows given, but this histogram has counted {self.counts.shape[0]}; "
                             "use the same granularity and number of channels for every batch")
        weights = torch.as_tensor(weights, dtype=torch.float64).expand(rows.shape)
        self._make_room(rows.where(weights > 0, 0.0))
        bins = torch.floor(rows / self.top * self.half) + self.half
        self.counts.scatter_add_(1, bins.long().clamp(0, 2 * self.half - 1), weights)

    def _start(self, n: int) -> None:
        self.counts = torch.zeros(n, 2 * self.half, dtype=torch.float64)
        self.top = torch.full((n, 1), 2.0**-1022, dtype=torch.float64)
        self.lo, self.hi = torch.full((n, 1), torch.inf), torch.full((n, 1), -torch.inf)
        self.lo, self.hi = self.lo.double(), self.hi.double()

    def _make_room(self, rows: Tensor) -> None:
        """Double top, row by row, until it exceeds every value."""
        lo, hi = rows.aminmax(dim=1, keepdim=True)
        self.lo, self.hi = torch.minimum(self.lo, lo), torch.maximum(self.hi, hi)
        largest = torch.maximum(-lo, hi)
        needed = torch.ldexp(torch.ones_like(hi), torch.frexp(largest).exponent)
        grown = torch.maximum(self.top, needed.where(largest > 0, 0.0))
        if (grown > self.top).any():
            self.counts = self._merged(grown / self.top)
            self.top = grown

    def _merged(self, factor: Tensor) -> Tensor:
        """The counts in bins `factor` times as wide: bin j, counted from the center, becomes floor(j / factor)."""
        bins = torch.arange(-self.half, self.half, dtype=torch.float64)
        wider = torch.floor(bins / factor).long() + self.half
        return torch.zeros_like(self.counts).scatter_add_(1, wider, self.counts)

    def edges(self) -> Tensor:
        """(n_blocks, 2 half + 1) edges of the bins; bin i holds edges[i] <= x < edges[i + 1]."""
        return torch.arange(-self.half, self.half + 1, dtype=torch.float64) * (self.top / self.half)

    def centers(self) -> Tensor:
        """(n_blocks, 2 half) centers of the bins, kept within the values seen."""
        centers = self.edges()[:, :-1] + self.top / (2 * self.half)
        return torch.minimum(torch.maximum(centers, self.lo), self.hi)

    def magnitudes(self) -> Tensor:
        """(n_blocks, half) counts of |x|."""
        return self.counts[:, self.half:] + self.counts[:, :self.half].flip(1)
