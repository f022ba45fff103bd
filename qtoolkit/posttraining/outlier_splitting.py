"""An input channel with outlying weights becomes two, each with half of them: the range shrinks, and so does every step.

    split = split_outliers(w, bits=4, ratio=0.05)
    split.weight, split.source              more columns than w, and which input each of them reads
    x[..., split.source] @ split.weight.T   what x @ w.T was
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks


@dataclass(frozen=True)
class SplitWeight:
    """Weights (outputs, columns), the input that each column reads (columns,), and the scale at which they are to be rounded."""

    weight: Tensor
    source: Tensor
    scale: Tensor

    def codes(self) -> Tensor:
        """floor(w / S + 1/2), int32. Half to even would not do: of two halves on a tie, one has to go up and the other down."""
        return torch.floor(self.weight / self.scale + 0.5).to(torch.int32)


def split_outliers(weight: Tensor, bits: int, ratio: float = 0.05) -> SplitWeight:
    r"""Duplicate the input with the largest weight, again and again, until there are ceil(ratio inputs) columns more.

        w x = w_a x + w_b x,    w_a = (w - S/2) / 2,    w_b = (w + S/2) / 2,    S = max|w_split| / (2^(bits-1) - 1)

    weight: (outputs, inputs), real; ratio: 0 or more. Two plain halves w/2 would both be rounded the same way, and their sum be wrong by a
    step where w / S is odd. With half a step between them Q(w_a) + Q(w_b) = Q(w) for *every* w, as long as Q rounds halves up: splitting
    adds no error of its own, and S is about half of what the outlier asked for. The layer grows by the ratio.
    Raises TypeError or ValueError for what is not a matrix of finite numbers, bits outside 2..16 or a negative ratio.
    Source: Zhao et al. 2019 (OCS), section 3, "quantization-aware splitting".

    >>> split = split_outliers(torch.tensor([[0.7, 6.0, -1.3]]), bits=4, ratio=0.3)
    >>> split.source.tolist(), [round(w, 3) for w in split.weight[0].tolist()]
    ([0, 1, 2, 1], [0.7, 2.893, -1.3, 3.107])
    """
    if _checks.real_tensor(weight, "weight").dim() != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (outputs, inputs)")
    if not 0 <= ratio < math.inf:
        raise ValueError(f"ratio is {ratio}, expected 0 or more: 0.05 adds one column to twenty")
    levels = 2 ** (_checks.bit_width(bits, smallest=2) - 1) - 1
    splits, largest = _choose(weight, math.ceil(ratio * weight.shape[1]))
    scale = largest / levels if largest > 0 else torch.ones_like(largest)
    columns = torch.nn.functional.pad(weight, (0, len(splits)))
    source = torch.arange(columns.shape[1], device=weight.device)
    for new, at in enumerate(splits, weight.shape[1]):
        half, between = columns[:, at] / 2, scale / 4
        columns[:, at], columns[:, new], source[new] = half - between, half + between, source[at]
    return SplitWeight(columns, source, scale)


def _choose(weight: Tensor, count: int) -> tuple[list[int], Tensor]:
    """Which columns are split, one after the other, and the largest |weight| that is left. A split appends a column."""
    peaks, splits = weight.abs().amax(0), []
    for _ in range(count):
        at = int(peaks.argmax())
        splits.append(at)
        peaks = torch.cat([peaks, peaks[at : at + 1] / 2])
        peaks[at] /= 2
    return splits, peaks.max()
