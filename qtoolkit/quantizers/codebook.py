"""Code books (non-uniform quantization): a code is an index into a table of levels.

    Q(x) = X_i   for x in [D_i, D_(i+1))          X: levels,  D: boundaries         (Gholami et al. 2021, equation 6)

All non-uniform quantizers differ only in how the levels are chosen; see levels.py and clusters.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.qtensor import QTensor
from qtoolkit.quantizers.scheme import Granularity, PerTensor, granularity_from_dict, granularity_to_dict


class Grid(NamedTuple):
    """What a chooser of levels returns.

    levels:      (n_blocks, k), ascending; or (1, k) if all blocks share one table.
    scale:       (n_blocks, 1), which multiplies the table of each block; None for 1.
    boundaries:  (.., k - 1), where one level gives way to the next; None for the midpoints (nearest level).
    """

    levels: Tensor
    scale: Tensor | None = None
    boundaries: Tensor | None = None


def midpoints(levels: Tensor) -> Tensor:
    """The boundaries that send every number to its nearest level: D_(i+1) = (X_i + X_(i+1)) / 2.

    Rounded up to the dtype of the levels, so that comparing with them is exact; a tie goes to the upper level.

    See: book/chapters/06-non-uniform-quantization.ipynb#any-levels-at-all

    >>> midpoints(torch.tensor([[-1.0, 0.0, 3.0]]))
    tensor([[-0.5000,  1.5000]])
    """
    levels = _checks.real_tensor(levels, "levels")
    exact = (levels[..., :-1].double() + levels[..., 1:].double()) / 2
    return round_up(exact, levels.dtype)


def round_up(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The smallest numbers of `dtype` that are not below x: then y >= x and y >= round_up(x) agree for every y of `dtype`."""
    rounded = x.to(dtype)
    return rounded.where(rounded.double() >= x, torch.nextafter(rounded, torch.full_like(rounded, math.inf)))


class Codebook:
    """A table of levels for each block, and the codes that point into it.

    See: book/chapters/06-non-uniform-quantization.ipynb#any-levels-at-all
    See: book/chapters/06-non-uniform-quantization.ipynb#what-a-codebook-costs

    >>> quantizer = Codebook(torch.tensor([-1.0, 0.0, 0.5, 2.0]))
    >>> quantizer.encode(torch.tensor([-0.7, 0.3, 1.0, 9.0])).codes
    tensor([0, 2, 2, 3], dtype=torch.uint8)
    """

    signed = False

    def __init__(self, levels: Tensor, scale: Tensor | None = None, boundaries: Tensor | None = None,
                 granularity: Granularity | None = None):
        self.levels = torch.atleast_2d(_checks.real_number(levels, "levels"))
        if self.levels.dim() != 2 or (self.levels.diff(dim=1) < 0).any() or self.levels.shape[1] > 2**_checks.MAX_BITS:
            raise ValueError(f"levels has shape {tuple(self.levels.shape)}, expected (n_blocks, k), ascending, k at most 65536")
        self.scale = None if scale is None else _checks.scale_tensor(scale).reshape(-1, 1)
        self.boundaries = torch.atleast_2d(midpoints(self.levels) if boundaries is None else boundaries.to(self.levels.dtype))
        if self.boundaries.shape[1] != self.levels.shape[1] - 1:
            raise ValueError(f"{self.boundaries.shape[1]} boundaries for {self.levels.shape[1]} levels, expected one less than levels")
        self.granularity = granularity or PerTensor()

    @classmethod
    def fit(cls, x: Tensor, choose_levels: Callable[[Tensor], Grid], granularity: Granularity | None = None) -> Codebook:
        """The quantizer for x: `choose_levels` maps the rows of x to a Grid."""
        granularity = granularity or PerTensor()
        rows = granularity.blocks(_checks.widened(_checks.real_tensor(x)))
        return cls(*choose_levels(rows), granularity=granularity)

    def encode(self, x: Tensor) -> QTensor:
        """Each number to the index of its level, block by block."""
        rows = self._blocks(_checks.widened(_checks.real_tensor(x))).to(self.levels.dtype)
        rows = rows if self.scale is None else rows / self.scale
        boundaries = self.boundaries.expand(rows.shape[0], -1).contiguous()
        codes = torch.searchsorted(boundaries, rows.contiguous(), right=True, out_int32=True).to(self.code_dtype)
        return QTensor(self.granularity.unblock(codes, x.shape), self)

    def decode(self, q: QTensor) -> Tensor:
        """Each index to its level, block by block."""
        if not isinstance(q, QTensor):
            raise TypeError(f"q is a {type(q).__name__}, expected a QTensor from encode(x)")
        rows = self._blocks(q.codes).to(torch.int32)
        if self.levels.shape[0] == 1:
            values = self.levels[0].index_select(0, rows.reshape(-1)).reshape(rows.shape)
        else:
            values = self.levels.gather(1, rows.long())
        return self.granularity.unblock(values if self.scale is None else values * self.scale, q.codes.shape)

    def fake(self, x: Tensor) -> Tensor:
        """encode, then decode, in the dtype of x."""
        return self.decode(self.encode(x)).to(x.dtype)

    @property
    def bits(self) -> int:
        """Bits of one code: ceil(log2 k)."""
        return max(1, (self.levels.shape[1] - 1).bit_length())

    @property
    def code_dtype(self) -> torch.dtype:
        """The integer dtype of unpacked codes."""
        return torch.uint8 if self.bits <= 8 else torch.int32

    def parts(self) -> dict[str, Tensor]:
        """What a file stores beside the codes: the tables, and the scale of each block if there is one."""
        return {"levels": self.levels} if self.scale is None else {"levels": self.levels, "scale": self.scale.flatten()}

    def about(self) -> dict:
        """The granularity as plain JSON values."""
        return {"granularity": granularity_to_dict(self.granularity)}

    @classmethod
    def from_parts(cls, parts: dict[str, Tensor], about: dict) -> Codebook:
        """Undo `parts` and `about`. Boundaries are not stored: decoding needs none, and encoding again takes the midpoints."""
        return cls(parts["levels"], parts.get("scale"), granularity=granularity_from_dict(about["granularity"]))

    def _blocks(self, x: Tensor) -> Tensor:
        rows = self.granularity.blocks(x)
        fitted = max(len(self.levels), 1 if self.scale is None else len(self.scale))
        if fitted not in (1, rows.shape[0]):
            raise ValueError(f"a tensor of shape {tuple(x.shape)} has {rows.shape[0]} blocks under {self.granularity}, "
                             f"but this quantizer was fitted to {fitted}; fit a new one")
        return rows

    def __repr__(self) -> str:
        return f"Codebook(levels={self.levels.shape[1]}, tables={self.levels.shape[0]}, {self.granularity})"
