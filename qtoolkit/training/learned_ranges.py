"""Ranges that learn: what clamps, or how far apart the levels lie, is a parameter like the weights.

    pact(x, alpha, bits)                       activations from 0 to alpha; alpha learns from what it clamps        Choi et al. 2018
    lsq(x, step, qmin, qmax, offset)           the step learns, and in LSQ+ where the levels begin                   Esser et al. 2020
    dorefa_weights(w, bits), dorefa_activations(x, bits), dorefa_gradient(g, bits, generator)                   Zhou et al. 2016
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks


def pact(x: Tensor, alpha: Tensor, bits: int) -> Tensor:
    r"""y = clamp(x, 0, alpha) in 2^bits levels from 0 to alpha, instead of a ReLU.

        y = (|x| - |x - alpha| + alpha) / 2,    y_q = round(y / S) S,    S = alpha / (2^bits - 1)
        dy/dx = 1 where 0 < x < alpha, else 0;        dy/dalpha = 1 where x >= alpha, else 0

    x: real; alpha: one positive number, a parameter. The loss pulls alpha up through what it clamps, a penalty on alpha^2 pulls it down and
    makes the steps small. Raises TypeError or ValueError for what is not real and finite, an alpha of 0 or less, or bits outside 1..16.
    Source: Choi et al. 2018 (PACT), section 3, equations 1 to 3.

    >>> alpha = torch.tensor(3.0, requires_grad=True)
    >>> y = pact(torch.tensor([-1.0, 1.2, 9.0]), alpha, bits=2)
    >>> y.sum().backward()
    >>> y.detach(), alpha.grad
    (tensor([0., 1., 3.]), tensor(1.))
    """
    _checks.scale_tensor(alpha.detach() if isinstance(alpha, Tensor) else alpha, "alpha")
    clamped = torch.where(_checks.real_tensor(x) >= alpha, alpha, x.clamp(min=0))
    step = alpha / (2 ** _checks.bit_width(bits) - 1)
    return _shown_as(clamped, torch.round(clamped / step) * step)


def lsq(x: Tensor, step: Tensor, qmin: int, qmax: int, offset: Tensor | float = 0.0) -> Tensor:
    r"""s round(clamp((x - b) / s, qmin, qmax)) + b, with a gradient for the step s, and for the offset b (LSQ+).

        v = (x - b) / s:    dy/ds = round(v) - v inside,    qmin or qmax outside,    times  g = 1 / sqrt(n qmax)
                            dy/db = 0 inside,    1 outside;        dy/dx = 1 inside, 0 outside

    Inside, a larger step moves the level, and by that its rounding error; outside, the end of the range. g makes the step's gradient as
    large, in relation to the step, as a weight's to the weight. x: real, n values; step: one positive number; offset: a number, or a
    parameter of one. "Inside" asks the rounded code, qmin <= round(v) <= qmax, as `straight_through` and torch do; the paper asks v.
    Raises TypeError or ValueError for what is not real and finite, a step of 0 or less, or codes without a positive one.
    Source: Esser et al. 2020 (LSQ), section 2, equations 1 to 4; Bhalgat et al. 2020 (LSQ+), section 3.

    >>> step = torch.tensor(0.1, requires_grad=True)
    >>> lsq(torch.tensor([0.33, -20.0, 20.0]), step, -8, 7).sum().backward()
    >>> step.grad * math.sqrt(3 * 7)
    tensor(-1.3000)
    """
    _checks.code_range(qmin, qmax)
    _checks.scale_tensor(step.detach() if isinstance(step, Tensor) else step, "step")
    if qmax < 1:
        raise ValueError(f"qmax is {qmax}, expected 1 or more: the gradient of the step is scaled by 1 / sqrt(n qmax)")
    gain = 1 / math.sqrt(_checks.real_tensor(x).numel() * qmax)
    step = step * gain + (step * (1 - gain)).detach() if isinstance(step, Tensor) else step
    ratio = (x - offset) / step
    code = torch.round(ratio.detach()).clamp(qmin, qmax)
    inside = torch.round(ratio.detach()) == code
    return (torch.where(inside, ratio, code) + (code - ratio.detach()) * inside) * step + offset


def lsq_step(x: Tensor, qmax: int) -> Tensor:
    r"""The step to begin with: 2 mean |x| / sqrt(qmax), and 1 if all of x is 0. Source: Esser et al. 2020, section 2.1.

    >>> lsq_step(torch.tensor([1.0, -3.0]), qmax=4)
    tensor(2.)
    """
    size = _checks.real_tensor(x).detach().abs().mean()
    return torch.where(size > 0, 2 * size / math.sqrt(_checks.positive_int(qmax, "qmax")), 1.0)


def dorefa_weights(weight: Tensor, bits: int) -> Tensor:
    r"""Weights in 2^bits levels from -1 to 1, evenly spaced, outliers drawn in by a tanh; of one bit, scaled signs.

        w' = 2 q(tanh w / (2 max |tanh w|) + 1/2) - 1,    q(r) = round((2^bits - 1) r) / (2^bits - 1);        bits = 1: sign(w) mean |w|

    The gradient passes q straight through, and the tanh as it is. Zero is no level: 2^bits levels that are symmetric leave it out.
    weight: real. Raises TypeError or ValueError for what is not real and finite, or bits outside 1..16.
    Source: Zhou et al. 2016 (DoReFa-Net), section 2.3, equations 7 to 9.

    >>> dorefa_weights(torch.tensor([-3.0, 0.1, 3.0]), bits=2)
    tensor([-1.0000,  0.3333,  1.0000])
    """
    _checks.real_tensor(weight, "weight")
    if _checks.bit_width(bits) == 1:
        signs = torch.where(weight < 0, -1.0, 1.0).to(weight.dtype)
        return _shown_as(weight, signs * weight.abs().mean())
    bent = torch.tanh(weight)
    return 2 * _even(bent / (2 * bent.detach().abs().max().clamp(min=torch.finfo(weight.dtype).tiny)) + 0.5, bits) - 1


def dorefa_activations(x: Tensor, bits: int) -> Tensor:
    r"""clamp(x, 0, 1) in 2^bits levels; the gradient of the clamp. Source: Zhou et al. 2016, section 2.4, equation 11.

    >>> dorefa_activations(torch.tensor([-1.0, 0.4, 7.0]), bits=2)
    tensor([0.0000, 0.3333, 1.0000])
    """
    return _even(_checks.real_tensor(x).clamp(0, 1), _checks.bit_width(bits))


def dorefa_gradient(gradient: Tensor, bits: int, generator: torch.Generator) -> Tensor:
    r"""A gradient in 2^bits levels that is right on average: each example by its own largest value, with noise of one step before rounding.

        m = max |g| of the example,    g' = 2 m (q(g / 2m + 1/2 + N) - 1/2),    N uniform in +-1/2 of a step, 1 / (2^bits - 1)

    gradient: (examples, ...), real. Without the noise small gradients would all be rounded the same way, and training would stop.
    Raises TypeError or ValueError for what is not real and finite, or bits outside 1..16.
    Source: Zhou et al. 2016, section 2.5, equation 12.

    >>> dorefa_gradient(torch.tensor([[0.5, -0.5]]), 4, torch.Generator().manual_seed(0))
    tensor([[ 0.5000, -0.5000]])
    """
    largest = _checks.real_tensor(gradient, "gradient").flatten(1).abs().amax(1).reshape(-1, *[1] * (gradient.dim() - 1))
    span = 2 * torch.where(largest > 0, largest, 1.0)
    steps = 2 ** _checks.bit_width(bits) - 1
    noise = (torch.rand(gradient.shape, dtype=gradient.dtype, device=gradient.device, generator=generator) - 0.5) / steps
    return span * (_even((gradient / span + 0.5 + noise).clamp(0, 1), bits) - 0.5)


def _even(r: Tensor, bits: int) -> Tensor:
    """r in 0..1 in 2^bits levels from 0 to 1, straight through."""
    steps = 2**bits - 1
    return _shown_as(r, torch.round(r * steps) / steps)


def _shown_as(x: Tensor, y: Tensor) -> Tensor:
    """y forward, the gradient of x backward."""
    return x + (y - x).detach()
