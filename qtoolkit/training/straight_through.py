"""Training with codes in place: the forward pass rounds, the backward pass looks the other way.

    y = straight_through(x, S, Z, qmin, qmax)     fake_quantize, with a gradient
    QuantizedTraining(scheme)                     a parametrization: the layer computes with rounded weights, the optimizer moves real ones
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qtoolkit.quantizers import Affine, Scheme, fake_quantize, min_max
from qtoolkit.quantizers.scheme import checked_scheme


def straight_through(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int) -> Tensor:
    r"""S (q - Z) with q = clamp(round(x / S) + Z, qmin, qmax), and the gradient of the clamp alone.

        dy/dx = 1 where qmin <= round(x / S) + Z <= qmax, else 0

    round has the derivative 0 nearly everywhere, and nothing would be learned; the straight-through estimator takes 1 instead. What was
    clamped gets no gradient: moving it a little changes nothing. x: real; scale and zero_point broadcast against it and get no
    gradient. Raises what `quantizers.fake_quantize` raises.
    Source: Bengio et al. 2013; Gholami et al. 2021, section III-G.

    >>> x = torch.tensor([0.26, 9.0], requires_grad=True)
    >>> y = straight_through(x, scale=0.5, zero_point=0, qmin=-8, qmax=7)
    >>> y.sum().backward()
    >>> y.detach(), x.grad
    (tensor([0.5000, 3.5000]), tensor([1., 0.]))
    """
    return _StraightThrough.apply(x, scale, zero_point, qmin, qmax)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax):
        y = fake_quantize(x, scale, zero_point, qmin, qmax)
        codes = torch.round(x / scale) + zero_point
        ctx.save_for_backward((codes >= qmin) & (codes <= qmax))
        return y

    @staticmethod
    def backward(ctx, gradient):
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None, None


class QuantizedTraining(nn.Module):
    """A parametrization under which a layer computes with quantized weights while real ones learn.

        weight -> Affine.from_range(calibration(weight)) -> straight_through(weight)

    The range is found anew in every pass, so the grid follows the weights. An update too small for a code moves the real weight, and
    many of them together move the code: that is why the real ones are kept. scheme: which codes, and which weights share a scale.
    calibration: rows to (lo, hi), `min_max` unless another is given. Raises TypeError or ValueError for what is not a scheme.
    Source: Gholami et al. 2021, section III-G; Jacob et al. 2018, section 3.

    >>> from torch.nn.utils.parametrize import register_parametrization
    >>> layer = nn.Linear(4, 2)
    >>> _ = register_parametrization(layer, "weight", QuantizedTraining(Scheme(bits=2, narrow_range=True)))
    >>> len(layer.weight.unique()) <= 3, layer.parametrizations.weight.original.unique().numel()
    (True, 8)
    """

    def __init__(self, scheme: Scheme, calibration: Callable = min_max):
        super().__init__()
        self.scheme, self.calibration = checked_scheme(scheme), calibration

    def forward(self, weight: Tensor) -> Tensor:
        """The weight to compute with."""
        granularity = self.scheme.granularity
        rows = granularity.blocks(weight)
        grid = Affine.from_range(*self.calibration(rows.detach()), self.scheme)
        return granularity.unblock(straight_through(rows, grid.scale, grid.zero_point, self.scheme.qmin, self.scheme.qmax), weight.shape)

    def extra_repr(self) -> str:
        return f"{self.scheme}"
