"""Observers watch batch after batch and then tell the range; memory does not grow with what they have seen.

    static   range frozen after calibration:   observer.update(batch) ...; Affine.from_range(*observer.range(), scheme)
    dynamic  range of each input:              Affine.fit(x, scheme)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.affine import Affine
from qtoolkit.quantizers.calibration import Percentile, Range, min_max
from qtoolkit.quantizers.histogram import Histogram
from qtoolkit.quantizers.scheme import Granularity, PerTensor, Scheme, checked_scheme


class MinMaxObserver:
    """The smallest and largest value of all batches: lo = min(lo, min x), hi = max(hi, max x).

    Equals torch's MinMaxObserver and PerChannelMinMaxObserver. Source: Gholami et al. 2021, section III-C.
    See: book/chapters/03-calibration.ipynb#minimum-maximum-and-a-moving-average

    >>> observer = MinMaxObserver()
    >>> observer.update(torch.tensor([1.0, 2.0]))
    >>> observer.update(torch.tensor([-1.0, 0.0]))
    >>> observer.range()
    (tensor([[-1.]]), tensor([[2.]]))
    """

    def __init__(self, granularity: Granularity | None = None):
        self.granularity = granularity or PerTensor()
        self.lo: Tensor | None = None
        self.hi: Tensor | None = None

    def update(self, x: Tensor) -> None:
        """Take a batch into account."""
        lo, hi = min_max(self.granularity.blocks(_checks.real_tensor(x)))
        if self.lo is None:
            self.lo, self.hi = lo, hi
        if lo.shape != self.lo.shape:
            raise ValueError(f"this batch has {len(lo)} blocks, the first had {len(self.lo)}; every batch needs the same")
        self.lo, self.hi = self.combine(self.lo, lo, torch.minimum), self.combine(self.hi, hi, torch.maximum)

    def combine(self, old: Tensor, new: Tensor, extreme: Callable) -> Tensor:
        """The end of the range, given the old one and that of a batch."""
        return extreme(old, new)

    def range(self) -> Range:
        """(lo, hi), each (n_blocks, 1). Raises ValueError before the first update."""
        if self.lo is None:
            raise ValueError("this observer has seen no batch; call update(x) first")
        return self.lo, self.hi


class MovingAverageObserver(MinMaxObserver):
    """An exponential moving average of each batch's ends: lo <- lo + c (min x - lo), the same for hi.

    Equals torch's MovingAverageMinMaxObserver. Source: Jacob et al. 2018, section 3.1.
    See: book/chapters/03-calibration.ipynb#minimum-maximum-and-a-moving-average

    >>> observer = MovingAverageObserver(momentum=0.5)
    >>> for batch in torch.tensor([[0.0, 2.0], [0.0, 4.0]]): observer.update(batch)
    >>> observer.range()
    (tensor([[0.]]), tensor([[3.]]))
    """

    def __init__(self, granularity: Granularity | None = None, momentum: float = 0.01):
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum is {momentum}, expected a value in (0, 1], such as 0.01")
        super().__init__(granularity)
        self.momentum = momentum

    def combine(self, old: Tensor, new: Tensor, extreme: Callable) -> Tensor:
        return old + self.momentum * (new - old)


class HistogramObserver:
    """A histogram of all batches; `calibration` (Percentile, MSE, KL, AciqLaplace, AciqGauss) then reads the range from it.

    The histogram does not depend on how the values were split into batches, so neither does the range. It differs from
    the calibration of all values at once by at most about a bin: 2^-10 of the largest value with the default of 2048 bins.
    See: book/chapters/03-calibration.ipynb#one-pass-bounded-memory

    >>> observer = HistogramObserver(Percentile(80))
    >>> for batch in torch.arange(100.0).split(10): observer.update(batch)
    >>> observer.range()
    (tensor([[10.0312]], dtype=torch.float64), tensor([[89.0312]], dtype=torch.float64))
    """

    def __init__(self, calibration: Callable = Percentile(), granularity: Granularity | None = None, bins: int = 2048):
        if not callable(calibration) or calibration is min_max:
            raise TypeError(f"calibration is {calibration!r}, expected one that reads a histogram, such as Percentile(99.9); "
                            "MinMaxObserver keeps the exact ends")
        self.calibration = calibration
        self.granularity = granularity or PerTensor()
        self.histogram = Histogram(bins)

    def update(self, x: Tensor) -> None:
        """Take a batch into account."""
        self.histogram.add(self.granularity.blocks(_checks.real_tensor(x)))

    def range(self) -> Range:
        """(lo, hi), each (n_blocks, 1), within the values seen. Raises ValueError before the first update."""
        if self.histogram.counts is None:
            raise ValueError("this observer has seen no batch; call update(x) first")
        return self.calibration(self.histogram.centers(), self.histogram.counts)


class StaticRange(nn.Module):
    """Quantize every input with one frozen quantizer: nothing is measured at run time (survey III-D, static).

    x -> S (clamp(round(x/S) + Z) - Z) with S and Z from calibration. Values beyond the calibrated range saturate.
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#two-sources-of-a-range
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#when-the-light-changes

    >>> StaticRange.calibrate([torch.tensor([-1.0, 1.0])], Scheme(bits=8))(torch.tensor([0.5, 4.0]))
    tensor([0.5020, 0.9961])
    """

    def __init__(self, quantizer: Affine):
        super().__init__()
        if not isinstance(quantizer, Affine):
            raise TypeError(f"quantizer is a {type(quantizer).__name__}, expected an Affine, such as Affine.from_range(lo, hi, scheme)")
        self.scheme = quantizer.scheme
        self.register_buffer("scale", quantizer.scale.clone())
        self.register_buffer("zero_point", quantizer.zero_point.clone())

    @classmethod
    def calibrate(cls, batches: Iterable[Tensor], scheme: Scheme, observer=None) -> StaticRange:
        """Show all batches to the observer (by default min/max at the scheme's granularity), then freeze its range."""
        observer = observer or MinMaxObserver(checked_scheme(scheme).granularity)
        for batch in batches:
            observer.update(batch)
        return cls(Affine.from_range(*(end.float() for end in observer.range()), scheme))

    def forward(self, x: Tensor) -> Tensor:
        return Affine(self.scheme, self.scale, self.zero_point).fake(x)


class DynamicRange(nn.Module):
    """Quantize every input with the range of that very input (survey III-D, dynamic).

    With granularity PerTensor one outlier widens the step of the whole batch; with PerToken each token has its own step.
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#two-sources-of-a-range
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#the-answer-depends-on-the-neighbors

    >>> DynamicRange(Scheme(bits=8))(torch.tensor([0.5, 4.0]))
    tensor([0.5020, 3.9843])
    """

    def __init__(self, scheme: Scheme, calibration: Callable = min_max):
        super().__init__()
        self.scheme, self.calibration = checked_scheme(scheme), calibration

    def forward(self, x: Tensor) -> Tensor:
        return Affine.fit(x, self.scheme, self.calibration).fake(x)
