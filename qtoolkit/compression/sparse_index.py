"""Where the surviving weights are: CSR, CSC and the relative index with filler zeros, each as real bytes.

A pruned matrix with `a` nonzero weights is kept as a list of values and a description of their places:

    CSR   columns (a numbers) and row pointers (rows + 1)      2a + rows + 1 numbers in all
    CSC   rows (a numbers) and column pointers (columns + 1)   2a + columns + 1 numbers in all
    gaps  the distance to the nonzero before, in a few bits; where the distance is too long for the bits, a *filler*:
          the longest gap, carrying a weight of zero

Deep Compression (Han et al. 2016, section 2, figure 2) uses gaps over the whole layer, flattened row by row.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.packing import pack, packed_size, unpack

FIRST_IN_FILE, FIRST_IN_FIGURE = -1, 0


@dataclass(frozen=True)
class CompressedMatrix:
    """CSR (`by` = "row") or CSC (`by` = "column"): values, their place inside the line, and where each line starts."""

    values: Tensor      # (a,)          float32
    indices: Tensor     # (a,)          column of each value in CSR, row in CSC
    pointers: Tensor    # (lines + 1,)  values[pointers[i]:pointers[i + 1]] is line i
    shape: tuple[int, int]
    by: str

    @property
    def numbers(self) -> int:
        """How many numbers are stored: 2a + n + 1, where n counts the lines."""
        return self.values.numel() + self.indices.numel() + self.pointers.numel()

    def tobytes(self) -> bytes:
        """The arrays one after another, little-endian: float32 values, then indices, then pointers in the narrowest of 1, 2, 4, 8 bytes."""
        across = self.shape[1] if self.by == "row" else self.shape[0]
        parts = (self.values.numpy().astype("<f4"), self.indices.numpy().astype(_unsigned(across - 1)),
                 self.pointers.numpy().astype(_unsigned(self.values.numel())))
        return b"".join(part.tobytes() for part in parts)

    def dense(self) -> Tensor:
        """The matrix again, exactly."""
        lines = self.shape[0] if self.by == "row" else self.shape[1]
        line = torch.repeat_interleave(torch.arange(lines), self.pointers.diff())
        matrix = torch.zeros(self.shape)
        matrix[(line, self.indices) if self.by == "row" else (self.indices, line)] = self.values
        return matrix


def _unsigned(largest: int) -> str:
    """The narrowest little-endian unsigned dtype that holds `largest`."""
    return next(f"<u{size}" for size in (1, 2, 4, 8) if largest < 256**size)


def csr(weight: Tensor) -> CompressedMatrix:
    """Compressed sparse rows of a matrix (rows, columns).

    >>> m = csr(torch.tensor([[0.0, 5.0], [0.0, 0.0], [7.0, 8.0]]))
    >>> m.values.tolist(), m.indices.tolist(), m.pointers.tolist(), m.numbers
    ([5.0, 7.0, 8.0], [1, 0, 1], [0, 1, 1, 3], 10)

    See: book/chapters/16-pruning.ipynb#compressed-rows-and-columns
    """
    return _by_line(_matrix(weight), tuple(weight.shape), "row")


def csc(weight: Tensor) -> CompressedMatrix:
    """Compressed sparse columns of a matrix (rows, columns): 2a + n + 1 numbers, n columns (Han et al. 2016, section 2).

    See: book/chapters/16-pruning.ipynb#compressed-rows-and-columns
    """
    return _by_line(_matrix(weight).t(), tuple(weight.shape), "column")


def _matrix(weight: Tensor) -> Tensor:
    if _checks.real_tensor(weight, "weight").dim() != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected a matrix; flatten(1) turns a convolution into one")
    return weight.detach().float()


def _by_line(matrix: Tensor, shape: tuple[int, int], by: str) -> CompressedMatrix:
    line, place = torch.nonzero(matrix, as_tuple=True)
    counts = torch.bincount(line, minlength=matrix.shape[0])
    pointers = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return CompressedMatrix(matrix[line, place], place, pointers, shape, by)


@dataclass(frozen=True)
class RelativeIndex:
    """Gaps between kept weights, fillers included. Entry i is `gaps[i]` positions after entry i - 1 and carries `values[i]`."""

    gaps: Tensor        # (entries,) int64, 1 .. 2^bits
    values: Tensor      # (entries,) 0 for a filler
    bits: int
    shape: tuple[int, ...]

    @property
    def fillers(self) -> int:
        """Entries that only bridge a distance."""
        return int((self.values == 0).sum())

    def tobytes(self) -> bytes:
        """The index as real bytes: gap - 1 in `bits` bits each. (The values are another stream: codes, see the container.)"""
        return pack(self.gaps - 1, self.bits).numpy().tobytes()

    @property
    def nbytes(self) -> int:
        """Length of `tobytes()`."""
        return packed_size(self.gaps.numel(), self.bits)

    def dense(self) -> Tensor:
        """The tensor again, exactly."""
        flat = torch.zeros(int(np.prod(self.shape, dtype=np.int64)), dtype=self.values.dtype)
        flat[positions(self.gaps)] = self.values
        return flat.reshape(self.shape)


def relative_index(weight: Tensor, bits: int) -> RelativeIndex:
    """The nonzeros of a tensor of any shape (weights, or integer codes) as gaps of `bits` bits with filler zeros.

    >>> relative_index(torch.tensor([0, 3, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17]), bits=3).gaps
    tensor([2, 3, 8, 3])

    See: book/chapters/16-pruning.ipynb#gaps-and-fillers
    """
    _checks.bit_width(bits)
    flat = weight.detach().reshape(-1)
    gaps, entry = gaps_with_fillers(torch.nonzero(flat).flatten(), bits)
    values = torch.zeros(gaps.numel(), dtype=flat.dtype)
    values[entry] = flat[flat != 0]
    return RelativeIndex(gaps, values, bits, tuple(weight.shape))


def gaps_with_fillers(places: Tensor, bits: int, origin: int = FIRST_IN_FILE) -> tuple[Tensor, Tensor]:
    """Distances between increasing positions, each longer one broken by fillers of 2^bits.

        gap_i = p_i - p_{i-1} = f * 2^bits + r,   f = (gap_i - 1) div 2^bits fillers, then r in 1 .. 2^bits

    `origin` is the position before the first. The paper's figure counts from position 0 (`FIRST_IN_FIGURE`; a weight at
    position 0 would have gap 0, which no file can store); files count from -1 and store gap - 1, the zeros skipped.
    Returns (gaps, entry): `entry[i]` says which gap belongs to position i; all other gaps are fillers.

    >>> gaps_with_fillers(torch.tensor([1, 4, 15]), bits=3, origin=FIRST_IN_FIGURE)     # the paper's figure 2
    (tensor([1, 3, 8, 3]), tensor([0, 1, 3]))

    See: book/chapters/16-pruning.ipynb#gaps-and-fillers
    """
    _checks.bit_width(bits)
    places = _checks.code_tensor(places, "places").long()
    distance = places.diff(prepend=places.new_tensor([origin]))
    if (distance[1:] < 1).any() or (distance[:1] < 0).any():
        raise ValueError("places must increase strictly and start after the origin; sort them and drop duplicates")
    fillers = ((distance - 1) >> bits).clamp_min(0)
    entry = (fillers + 1).cumsum(0) - 1
    gaps = torch.full((int(fillers.sum()) + places.numel(),), 1 << bits)
    gaps[entry] = distance - (fillers << bits)
    return gaps, entry


def positions(gaps: Tensor, origin: int = FIRST_IN_FILE) -> Tensor:
    """Position of every entry, fillers included: p_i = origin + gap_0 + ... + gap_i.

    >>> positions(torch.tensor([1, 3, 8, 3]), origin=FIRST_IN_FIGURE)
    tensor([ 1,  4, 12, 15])
    """
    return _checks.code_tensor(gaps, "gaps").cumsum(0) + origin


def read_gaps(stored: bytes, bits: int, count: int) -> Tensor:
    """The gaps that `RelativeIndex.tobytes` wrote."""
    return unpack(torch.frombuffer(bytearray(stored), dtype=torch.uint8), bits, count).long() + 1 if count else torch.empty(0, dtype=torch.long)
