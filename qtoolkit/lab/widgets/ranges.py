"""Two pictures of one choice: how far a range should reach."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, checked_numbers, float_bytes, synced
from qtoolkit.lab.widgets.bundle import ESM
from qtoolkit.lab.widgets.number_line import Sketched
from qtoolkit.quantizers import KL, MSE, AciqGauss, AciqLaplace, Percentile, Scheme, min_max
from qtoolkit.quantizers.histogram import Histogram

WIDTHS = range(2, 9)
STYLE = Widget._css + (ESM / "ranges.css").read_text(encoding="utf-8")


class ClipRange(Sketched):
    """Histogram of `x` with a clip on both sides to drag, the errors inside and outside, and where each calibration puts the clip.

    x: any shape, real. Controls: bits 2 to 8, clip T from a hundredth of the largest magnitude to all of it. The quantizer is symmetric and
    restricted, so its outermost levels are -T and T. Raises TypeError or ValueError for an x that is not real, empty, not finite or all
    zero, and for bits that the control cannot reach.
    """

    module = "clip_range.js"
    _css = STYLE
    clips = synced(traitlets.Dict())
    bits = synced(traitlets.Int())

    def __init__(self, x: Tensor, name: str = "the numbers", bits: int = 4):
        if bits not in WIDTHS:
            raise ValueError(f"given bits={bits}, expected 2 to 8")
        x = _clippable(x)
        super().__init__(x, clips={str(width): list(clips(x, width).items()) for width in WIDTHS}, name=name, bits=bits)


def _clippable(x: Tensor) -> Tensor:
    x = checked_numbers(x, "x")
    if not bool(x.any()):
        raise ValueError("x is zero everywhere, expected numbers that a range can clip")
    return x


def clips(x: Tensor, bits: int) -> dict[str, float]:
    """Where each calibration, read from a histogram of x, ends the range at this bit width: the larger of -lo and hi, to four digits.

    >>> clips(torch.tensor([-1.0, 0.0, 0.5, 2.0]), bits=2)["min/max"]
    2.0
    """
    chosen = {"percentile 99.9": Percentile(99.9), "MSE": MSE(Scheme(bits, narrow_range=True)), "KL": KL(bits),
              "ACIQ Laplace": AciqLaplace(bits), "ACIQ Gauss": AciqGauss(bits)}
    histogram = Histogram()
    histogram.add(x.flatten()[None])
    centers, counts = histogram.centers(), histogram.counts
    ranges = {"min/max": min_max(x.flatten()[None])} | {name: calibration(centers, counts) for name, calibration in chosen.items()}
    return {name: float(f"{max(float(-lo), float(hi)):.4g}") for name, (lo, hi) in ranges.items()}


class KLView(Widget):
    """The histogram of |x| cut at a threshold (P), seen through few codes (Q), and KL(P || Q) at every threshold.

    x: any shape, real. Controls: threshold, codes for |x| (4 to 256), and whether the bin at zero counts. `codes` is a power of two from 4
    to 256. Raises TypeError or ValueError for an x that is not real, empty, not finite or all zero, and for other codes.
    """

    module = "kl_view.js"
    _css = STYLE
    counts = synced(traitlets.Bytes())
    top = synced(traitlets.Float())
    least = synced(traitlets.Int())
    name = synced(traitlets.Unicode())
    power = synced(traitlets.Int())
    zeros = synced(traitlets.Unicode())

    def __init__(self, x: Tensor, name: str = "the numbers", codes: int = 128, zeros: bool = True, bins: int = 2048):
        powers = {2**power: power for power in WIDTHS}
        if codes not in powers:
            raise ValueError(f"given codes={codes}, expected one of {sorted(powers)}")
        x = _clippable(x)
        histogram = Histogram(bins)
        histogram.add(x[None])
        super().__init__(counts=float_bytes(histogram.magnitudes()), top=float(histogram.top), least=bins // 16, name=name, power=powers[codes],
                         zeros="counted" if zeros else "neighbor")
