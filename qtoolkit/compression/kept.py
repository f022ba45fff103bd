"""The weights of a layer that stay, found piece by piece: a layer of 100 million weights is pruned without a second copy of it.

`kept_places` says what `keep_largest` says, as a list of places instead of a mask; `SharedKept` is a shared layer in that form.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtoolkit.compression.pruning import _density
from qtoolkit.quantizers import _checks

PART = 1 << 18              # weights looked at together: they stay in the processor's cache
_SAMPLE, _SLACK = 1 << 16, 1 << 10


@dataclass(frozen=True)
class SharedKept:
    """A shared layer without its zeros: `codebook[codes[i]]` is the weight at `places[i]` of the flattened layer, all others are 0."""

    shape: tuple[int, ...]
    places: Tensor      # (kept,)   ascending, int32 (int64 in a layer of more than 2^31 weights)
    codes: Tensor       # (kept,)   int16, 1 .. K
    codebook: Tensor    # (1 + K,)  codebook[0] = 0

    @property
    def dtype(self) -> torch.dtype:
        """Of the weight."""
        return self.codebook.dtype

    def all_codes(self) -> Tensor:
        """A code for every weight of the layer, int16, shaped like it; 0 = pruned."""
        codes = torch.zeros(self.shape, dtype=torch.int16)
        codes.view(-1)[self.places] = self.codes
        return codes

    def dense(self) -> Tensor:
        """The weight itself."""
        weight = self.codebook.new_zeros(self.shape)
        weight.view(-1)[self.places] = self.codebook[self.codes.int()]
        return weight

    def revalued(self, codebook: Tensor) -> "SharedKept":
        """The layer with another value for every code: equal values become one code, weights that become 0 are left out."""
        distinct, code = codebook.unique(return_inverse=True)
        used = distinct != 0
        number = (used.cumsum(0) * used).to(torch.int16)[code]          # 0 for the value 0
        codes = number[self.codes.int()]
        stay = codes != 0
        return SharedKept(self.shape, self.places[stay], codes[stay], torch.cat([codebook.new_zeros(1), distinct[used]]))


def kept_places(weight: Tensor, density: float | None = None) -> Tensor:
    """Places of the round(density n) largest |w| in the flattened weight, ascending, zeros left out; None keeps every nonzero.

    Among equal magnitudes the earlier place wins, as in `keep_largest`; the answer is exact. Beside the weight it needs the places,
    and room for some percent of the layer. Raises TypeError or ValueError unless the weight is a tensor of finite reals, not empty,
    and the density a number from 0 to 1.

    >>> kept_places(torch.tensor([[0.1, -0.9], [0.5, -0.5]]), density=0.5)
    tensor([1, 2], dtype=torch.int32)
    """
    _checks.real_tensor(weight.detach().reshape(-1)[:1], "weight")
    kept = weight.numel() if density is None else round(_density(density) * weight.numel())
    threshold, ties = (0.0, 0) if kept == weight.numel() else _threshold(weight, kept)
    index, found = np.int32 if weight.numel() < 1 << 31 else np.int64, [np.empty(0, np.int32)]
    for start, part in _magnitudes(weight):
        mask = part > threshold
        if ties and threshold > 0:
            equal = np.flatnonzero(part == threshold)[:ties]
            mask[equal], ties = True, ties - len(equal)
        found.append((np.flatnonzero(mask) + start).astype(index))
    return torch.from_numpy(np.concatenate(found))


def _magnitudes(weight: Tensor) -> Iterator[tuple[int, np.ndarray]]:
    """|w| part by part, each with the place of its first weight; float16 and bfloat16 are widened. Raises ValueError for NaN or infinity."""
    for start in range(0, weight.numel(), PART):
        part = _checks.widened(weight.detach().reshape(-1)[start : start + PART]).numpy()
        part = np.abs(part)
        if not part.max() < np.inf:
            _checks.real_tensor(torch.from_numpy(part), "weight")
        yield start, part


def _threshold(weight: Tensor, kept: int) -> tuple[float, int]:
    """The kept-th largest |w|, and how many of those equal to it stay.

    A sample brackets it; only the magnitudes inside the bracket are collected and ranked. If they turn out not to hold it (the
    sample deceived), the bracket moves: the answer is exact either way.
    """
    if kept == 0:
        return np.inf, 0
    low, high = _bracket(weight, kept)
    while True:
        above, at_high, inside, at_low = _count(weight, low, high)
        if kept <= above:
            low, high = high, np.inf
        elif kept <= above + at_high:
            return high, kept - above
        elif kept <= above + at_high + len(inside):
            value = np.partition(inside, above + at_high - kept)[above + at_high - kept]
            return float(value), kept - above - at_high - int((inside > value).sum())
        elif kept <= above + at_high + len(inside) + at_low:
            return low, kept - above - at_high - len(inside)
        else:
            low, high = -1.0, low


def _bracket(weight: Tensor, kept: int) -> tuple[float, float]:
    """Two magnitudes between which the kept-th largest should lie, from every n / 65,536-th weight; a small layer is ranked as it is."""
    if weight.numel() <= PART:
        return -1.0, np.inf
    sample = weight.detach().reshape(-1)[:: max(1, weight.numel() // _SAMPLE)]
    ranked, place = np.sort(_checks.widened(sample).abs().numpy()), kept / weight.numel()
    cut = [round(len(ranked) * (1 - place)) + step for step in (-_SLACK, _SLACK)]
    return float(ranked[cut[0]]) if cut[0] >= 0 else -1.0, float(ranked[cut[1]]) if cut[1] < len(ranked) else np.inf


def _count(weight: Tensor, low: float, high: float) -> tuple[int, int, np.ndarray, int]:
    """How many magnitudes are above, at `high`; those between; how many are at `low`."""
    above = at_high = at_low = 0
    between = []
    for _, part in _magnitudes(weight):
        part = part[part >= low]
        inner = part[part < high]
        top = len(part) - len(inner)
        equal = int((part == high).sum()) if top else 0
        between.append(inner[inner > low])
        above, at_high, at_low = above + top - equal, at_high + equal, at_low + len(inner) - len(between[-1])
    return above, at_high, np.concatenate(between), at_low
