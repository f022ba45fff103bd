"""Rounding by chance: up or down with the probabilities that make the average exact.

    stochastic_round(x, generator)              floor(x), or one more with the probability x - floor(x)
    stochastic_quantize(x, S, Z, qmin, qmax)    the codes that go with it
    stochastic_signs(x, generator)              +1 with the probability clip((x + 1) / 2, 0, 1), else -1
    QuantNoise(fake, share)                     only some weights are quantized at a time, others by the next batch
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qtoolkit.quantizers import _checks


def stochastic_round(x: Tensor, generator: torch.Generator) -> Tensor:
    r"""Whole numbers that are x on average.

        round(x) = floor(x) + 1 with probability f = x - floor(x), else floor(x):    E = x,    Var = f (1 - f)

    x: real, any shape; returned in its dtype. Whole numbers stay as they are. An update of a tenth of a step is lost for good under
    rounding to nearest; here it moves every tenth code. The variance is the price: f (1 - f) <= 1/4, thrice the 1/12 of rounding to nearest.
    Raises TypeError or ValueError for what is not real and finite.
    Source: Gholami et al. 2021, equation 8; Gupta et al. 2015.

    >>> stochastic_round(torch.full((10000,), 2.3), torch.Generator().manual_seed(0)).mean().round(decimals=1)
    tensor(2.3000)
    """
    below = torch.floor(_checks.real_tensor(x))
    chance = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
    return below + (chance < x - below)  # not floor(x + chance), which rounds 2 + 0.99999997 up to 3


def stochastic_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, generator: torch.Generator) -> Tensor:
    r"""q = clamp(round(x / S) + Z, qmin, qmax), rounded by chance: inside the range S (q - Z) is x on average. int32 codes, shaped like x.

    scale and zero_point broadcast against x. Raises TypeError or ValueError for what is not real and finite, S <= 0, shapes that do not fit.
    Source: Gupta et al. 2015.

    >>> generator = torch.Generator().manual_seed(0)
    >>> stochastic_quantize(torch.tensor([0.5, 1.0, 9.0]), 0.5, 0, -8, 7, generator)
    tensor([1, 2, 7], dtype=torch.int32)
    """
    _checks.code_range(qmin, qmax)
    x, scale, zero_point = _checks.widened(_checks.real_tensor(x)), _checks.scale_tensor(scale), _checks.zero_point_tensor(zero_point)
    _checks.fits("x", x, scale=scale, zero_point=zero_point)
    return (stochastic_round(x / scale, generator) + zero_point).clamp(qmin, qmax).to(torch.int32)


def stochastic_signs(x: Tensor, generator: torch.Generator) -> Tensor:
    r"""+1 with the probability p = clip((x + 1) / 2, 0, 1), the *hard sigmoid*, else -1: on average clip(x, -1, 1).

    x: real, any shape; returned in its dtype. The survey's equation 9 has a sigmoid for p; BinaryConnect's hard one costs no exponential
    and makes the average linear. Raises TypeError or ValueError for what is not real and finite.
    Source: Courbariaux et al. 2015 (BinaryConnect), section 2.

    >>> stochastic_signs(torch.tensor([-5.0, 5.0]), torch.Generator().manual_seed(0))
    tensor([-1.,  1.])
    """
    chance = torch.rand(_checks.real_tensor(x).shape, dtype=x.dtype, device=x.device, generator=generator)
    return torch.where(chance < (x + 1) / 2, 1.0, -1.0).to(x.dtype)


class QuantNoise(nn.Module):
    """A parametrization under which a weight is partly quantized while it trains, and wholly afterwards.

        training: each block of `block` weights along the last axis becomes fake(weight) with probability `share`, else it stays
        evaluation: fake(weight)

    The gradient reaches the weights that stayed exactly, and those that were quantized straight through. At a share of 0 this is training
    in floating point, at 1 training with all weights quantized; between, most gradients are right at any time, and every weight meets
    its rounding error often. fake: a function from a weight to one of the same shape, for instance
    `lambda w: Affine.fit(w, scheme).fake(w)`. Raises ValueError for a share outside 0..1, a block below 1 or one that does not divide.
    Source: Fan et al. 2021, section 4.

    >>> from torch.nn.utils.parametrize import register_parametrization
    >>> layer = nn.Linear(4, 2)
    >>> noise = QuantNoise(torch.round, share=0.5, generator=torch.Generator().manual_seed(0))
    >>> _ = register_parametrization(layer, "weight", noise)
    >>> torch.equal(layer.eval().weight, layer.parametrizations.weight.original.round())
    True
    """

    def __init__(self, fake: Callable[[Tensor], Tensor], share: float, generator: torch.Generator, block: int = 1):
        super().__init__()
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share}, expected a probability from 0 to 1")
        self.fake, self.share, self.generator, self.block = fake, share, generator, _checks.positive_int(block, "block")

    def forward(self, weight: Tensor) -> Tensor:
        """The weight to compute with."""
        with torch.no_grad():
            error = self.fake(weight) - weight
            if self.training:
                error = error * self._chosen(weight)
        return weight + error

    def _chosen(self, weight: Tensor) -> Tensor:
        if weight.shape[-1] % self.block:
            raise ValueError(f"a weight of shape {tuple(weight.shape)} does not split into blocks of {self.block} along its last axis")
        chance = torch.rand(*weight.shape[:-1], weight.shape[-1] // self.block, device=weight.device, generator=self.generator)
        return (chance < self.share).repeat_interleave(self.block, -1)

    def extra_repr(self) -> str:
        return f"share={self.share}, block={self.block}"
