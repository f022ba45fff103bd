"""Training toward levels without an estimator: a force pulls each weight to a level, until rounding changes nothing.

    toward_levels(w, levels, strength)      a step to the nearest level, after the optimizer's own (ProxQuant)
    sine_penalty(w, S)                      a term of the loss that is 0 on the grid and largest midway
    alpha_blend(w, fake, alpha)             more and more of the rounded weight, less and less of the real one
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks, midpoints


def toward_levels(weight: Tensor, levels: Tensor, strength: float) -> Tensor:
    r"""The proximal step: each weight moves to its nearest level by `strength`, but not past it.

        prox(w) = argmin over v of 1/2 (v - w)^2 + strength min_l |v - l|  =  l + sign(w - l) max(|w - l| - strength, 0)

    weight: real, any shape. levels: (K,), real, in rising order; strength >= 0. With a strength that grows from step to step, training
    begins in floating point and ends on the levels, and every gradient on the way is a true one, taken at the real weights. At an
    infinite strength this is rounding to the levels, which is what BinaryConnect does in every step. A weight midway goes down.
    Raises TypeError or ValueError for what is not real and finite, levels that do not rise, or a negative strength.
    Source: Bai et al. 2019 (ProxQuant), section 3.

    >>> toward_levels(torch.tensor([-0.5, 0.9, 1.7]), torch.tensor([-1.0, 1.0]), strength=0.3)
    tensor([-0.8000,  1.0000,  1.4000])
    """
    _checks.real_tensor(weight, "weight")
    if _checks.real_tensor(levels, "levels").dim() != 1 or not (levels.diff() > 0).all():
        raise ValueError(f"levels are {levels.tolist()}, expected one axis in rising order")
    if not strength >= 0:
        raise ValueError(f"strength is {strength}, expected 0 or more")
    nearest = levels[torch.bucketize(weight, midpoints(levels))].to(weight.dtype)
    away = weight - nearest
    return nearest + torch.sign(away) * (away.abs() - strength).clamp(min=0)


def sine_penalty(weight: Tensor, scale: Tensor) -> Tensor:
    r"""sum sin^2(pi w / S): 0 with gradient 0 on each multiple of S, 1 for each weight midway between two.

    weight: real, any shape; scale: the step S > 0, which broadcasts against it and may learn. Added to the loss with a factor that grows, it
    sorts the weights onto the grid. Every level is a minimum, so a weight that the loss pulls over must climb: start with a small factor.
    Raises TypeError or ValueError for what is not real and finite, S <= 0, or shapes that do not fit.
    Source: Naumov et al. 2018; Elthakeb et al. 2020 (WaveQ), which learns the number of bits as well.

    >>> sine_penalty(torch.tensor([0.5, -1.0, 0.75]), 0.5).round(decimals=4)
    tensor(1.)
    """
    _checks.real_tensor(weight, "weight")
    _checks.fits("weight", weight, scale=_checks.scale_tensor(scale))
    return torch.sin(math.pi * weight / scale).square().sum()


def alpha_blend(weight: Tensor, fake: Callable[[Tensor], Tensor], alpha: float) -> Tensor:
    r"""w' = (1 - alpha) w + alpha Q(w): floating point at alpha = 0, quantized at 1, and alpha grows while the network trains.

    Q has the gradient 0, which is true nearly everywhere; what learns is the real part, with the factor 1 - alpha. weight: real; fake: a
    function from a weight to the quantized one, of the same shape. Raises ValueError for an alpha outside 0..1.
    Source: Liu and Mattina 2019.

    >>> alpha_blend(torch.tensor([0.2, 0.8]), torch.round, alpha=0.75)
    tensor([0.0500, 0.9500])
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, expected a share from 0 to 1")
    return (1 - alpha) * weight + alpha * fake(_checks.real_tensor(weight, "weight").detach())
