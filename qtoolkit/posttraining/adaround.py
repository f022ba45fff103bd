"""Up or down: which of its two neighboring levels each weight takes is learned from what the layer outputs.

    h = rectified_sigmoid(v)                     a soft choice from 0 (down) to 1 (up), which reaches both ends
    q = adaround(w, H, Affine.fit(w, ...))       codes, each the one below its weight or the one above
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from qtoolkit.posttraining.gptq import checked_layer
from qtoolkit.quantizers import Affine, QTensor, _checks

_LOWEST, _HIGHEST = -0.1, 1.1  # how far the sigmoid is stretched before it is cut off
_WARM_UP, _BETA_FIRST, _BETA_LAST = 0.2, 20.0, 2.0


def rectified_sigmoid(v: Tensor) -> Tensor:
    r"""h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1): stretched beyond 0 and 1 and cut off there, so that a weight can settle on either.

    Source: Nagel et al. 2020, equation 23; Louizos et al. 2018.

    >>> rectified_sigmoid(torch.tensor([-9.0, 0.0, 9.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (torch.sigmoid(v) * (_HIGHEST - _LOWEST) + _LOWEST).clamp(0, 1)


def adaround(weight: Tensor, hessian: Tensor, quantizer: Affine, steps: int = 1000, learning_rate: float = 0.01, push: float = 100.0,
             progress: Callable[[Iterable], Iterable] = iter) -> QTensor:
    r"""The codes of `weight`, each rounded up or down so that the layer's output is close to the exact one.

        minimize over V:    E ||(W~ - W) x||^2 / E ||(W' - W) x||^2  +  push mean(1 - |2 h(V) - 1|^beta)
        W~ = S (clip(floor(W / S) + h(V) + Z) - Z),        W' is W rounded to nearest

    weight: (outputs, inputs), real. hessian: (inputs, inputs), from `input_hessian`: all that the squared error needs to know of the
    inputs. quantizer: as for `gptq`; its levels are kept. V starts where W~ = W. The second term drives every h to 0 or 1; its beta
    falls from 20, where it holds only what has nearly arrived, to 2, where it drives all, and it waits for the first fifth of the steps. In the
    end h >= 1/2 goes up; should the output then be no better than with the nearest codes, those are returned. `progress` wraps the
    steps, for instance tqdm. `gptq` may move a weight by more than one level and takes one pass: try both.
    Raises what `gptq` raises, and ValueError for fewer than one step.
    Source: Nagel et al. 2020, section 3.2, equations 21 to 25, of the layer's own output (theirs lies behind the activation), with its
    error in units of what nearest codes cost, so that one `push` serves all layers.

    >>> from qtoolkit.posttraining import input_hessian
    >>> from qtoolkit.quantizers import Scheme
    >>> weight, same_inputs = torch.tensor([[0.4, 0.45]]), torch.ones(8, 2)
    >>> adaround(weight, input_hessian(same_inputs), Affine(Scheme(bits=4), scale=1.0)).codes
    tensor([[0, 1]], dtype=torch.int8)
    """
    checked_layer(weight, hessian, quantizer)
    _checks.positive_int(steps, "steps")
    exact, h = weight.detach().float(), hessian.detach().float()
    neighbors, nearest = _Neighbors(exact, quantizer), quantizer.encode(weight.detach())
    unit = _output_error(nearest.dequantize() - exact, h).clamp(min=torch.finfo(h.dtype).tiny)
    v = neighbors.start().requires_grad_()
    optimizer = torch.optim.Adam([v], learning_rate)
    for step in progress(range(steps)):
        up = rectified_sigmoid(v)
        loss = _output_error(neighbors.weights(up) - exact, h) / unit + push * _undecided(up, step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = quantizer.encode(neighbors.weights((rectified_sigmoid(v.detach()) >= 0.5).float()).to(weight.dtype))
    return found if _output_error(found.dequantize() - exact, h) < unit else nearest


def _output_error(change: Tensor, hessian: Tensor) -> Tensor:
    """E ||D x||^2 = tr(D H D^T)."""
    return ((change @ hessian) * change).sum()


class _Neighbors:
    """The level below each weight and the one above."""

    def __init__(self, weight: Tensor, quantizer: Affine):
        self.scheme, self.scale, self.zero_point = quantizer.scheme, quantizer.scale.to(weight.dtype), quantizer.zero_point
        self.below = torch.floor(weight / self.scale)
        self.fraction = weight / self.scale - self.below

    def start(self) -> Tensor:
        """V with h(V) = W / S - floor(W / S)."""
        return torch.logit((self.fraction - _LOWEST) / (_HIGHEST - _LOWEST))

    def weights(self, up: Tensor) -> Tensor:
        codes = (self.below + up + self.zero_point).clamp(self.scheme.qmin, self.scheme.qmax)
        return self.scale * (codes - self.zero_point)


def _undecided(soft: Tensor, done: float) -> Tensor:
    """The share of choices that are open: mean(1 - |2h - 1|^beta)."""
    if done < _WARM_UP:
        return soft.new_zeros(())
    beta = _BETA_LAST + (_BETA_FIRST - _BETA_LAST) * (1 - done) / (1 - _WARM_UP)
    return (1 - (2 * soft - 1).abs() ** beta).mean()
