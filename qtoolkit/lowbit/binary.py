"""Signs in a network, and what to put in the place of their derivative, which is 0 wherever it exists.

    binarize(x, slope)          sign(x) forward; backward the gradient times slope(x)
    window, triangle, swish_slope(beta), error_decay(progress)     four slopes
    scaled_signs(w)             a B with the a that is nearest to w
    balanced_signs(w, ...)      the same of standardized weights, with a power of two for a
    clip_masters(parameters)    real weights behind signs stay in -1..1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from qtoolkit.quantizers import _checks


def window(x: Tensor) -> Tensor:
    r"""1 where |x| <= 1, else 0: the derivative of the hard tanh, clip(x, -1, 1).

    Source: Hubara et al. 2016 (binarized networks), section 1.3.

    >>> window(torch.tensor([-1.5, 0.2, 1.0]))
    tensor([0., 1., 1.])
    """
    return (x.abs() <= 1).to(x.dtype)


def triangle(x: Tensor) -> Tensor:
    r"""2 - 2 |x| where |x| <= 1, else 0: the derivative of two parabolas that meet in 0, which lie closer to a sign than the hard tanh.

    Source: Liu et al. 2018 (Bi-Real net), section 3.3, "ApproxSign".

    >>> triangle(torch.tensor([-1.5, -0.25, 0.0]))
    tensor([0.0000, 1.5000, 2.0000])
    """
    return (2 - 2 * x.abs()).clamp(min=0)


def binarize(x: Tensor, slope: Callable[[Tensor], Tensor] = window) -> Tensor:
    r"""sign(x), with sign(0) = +1; backward the gradient times slope(x).

    x: real, any shape; slope: real numbers to what stands in for d sign / dx. `torch.ones_like` is the plain straight-through estimator of
    BinaryConnect, `window` cancels it where |x| > 1: what has left the range would only leave it further.
    Raises TypeError or ValueError for what is not real and finite.
    Source: Courbariaux et al. 2015; Hubara et al. 2016.

    >>> x = torch.tensor([-3.0, -0.5, 0.0], requires_grad=True)
    >>> binarize(x).sum().backward()
    >>> binarize(x).detach(), x.grad
    (tensor([-1., -1.,  1.]), tensor([0., 1., 1.]))
    """
    return _Signs.apply(_checks.real_tensor(x), slope)


class _Signs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x)
        ctx.slope = slope
        return signs(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * ctx.slope(x), None


def scaled_signs(weight: Tensor, slope: Callable[[Tensor], Tensor] = window) -> Tensor:
    r"""a B for each output: B = sign(W), a = mean |W|, which of all a and B are nearest to W.

        ||W - a B||^2 = ||W||^2 - n a^2        with n weights an output

    weight: (outputs, ...), real. The gradient reaches the weights through a and, by `slope`, through B. Of Gaussian weights 1 - 2 / pi = 36 % of
    the square is lost. Raises TypeError or ValueError for what is not real and finite.
    Source: Rastegari et al. 2016 (XNOR-Net), section 3.1, equation 6.

    >>> scaled_signs(torch.tensor([[0.5, -1.5], [-2.0, 2.0]]))
    tensor([[ 1., -1.],
            [-2.,  2.]])
    """
    return binarize(weight, slope) * _per_output(weight.abs(), torch.mean)


class Shortcut(nn.Module):
    """y = x + branch(x) around one binary layer: what the signs lose of x, the sum keeps as real numbers.

    A product of n signs takes one of n + 1 values; the sum of two such layers' outputs takes many more, at the cost of one addition a number.
    Raises ValueError when the branch changes the shape. Source: Liu et al. 2018 (Bi-Real net), section 3.2.

    >>> Shortcut(nn.Identity())(torch.tensor([0.25]))
    tensor([0.5000])
    """

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """x + branch(x)."""
        y = self.branch(x)
        if y.shape != x.shape:
            raise ValueError(f"the branch turns shape {tuple(x.shape)} into {tuple(y.shape)}, expected the same; pool or pad the shortcut outside")
        return x + y


def input_scales(x: Tensor, kernel: int | tuple[int, int], stride: int = 1, padding: int = 0) -> Tensor:
    r"""K, the mean |x| under each position of the kernel: conv(x, W) ~ K a conv(sign x, sign W).

        A = mean over channels of |x|,    K = A averaged over the kernel's window (zeros of the padding count)

    x: (images, channels, height, width), real. Returns (images, 1, height', width'), one scale for all outputs of a position: the best
    scale of each window, as a is of each filter. Raises TypeError or ValueError for what is not real, finite and of four axes.
    Source: Rastegari et al. 2016 (XNOR-Net), section 3.2, equation 11.

    >>> input_scales(torch.tensor([[[[1.0, -3.0], [0.0, 4.0]]]]), kernel=2)
    tensor([[[[2.]]]])
    """
    if _checks.real_tensor(x).dim() != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (images, channels, height, width)")
    return torch.nn.functional.avg_pool2d(x.abs().mean(1, keepdim=True), kernel, stride, padding)


def clip_masters(parameters: Iterable[Tensor]) -> None:
    """After each step of the optimizer: real weights that stand behind signs go back to -1..1, in place.

    Beyond, they would change no sign, and need ever longer to come back. Source: Courbariaux et al. 2015 (BinaryConnect), section 2.

    >>> weight = torch.tensor([-3.0, 0.5])
    >>> clip_masters([weight])
    >>> weight
    tensor([-1.0000,  0.5000])
    """
    with torch.no_grad():
        for parameter in parameters:
            parameter.clamp_(-1, 1)


def swish_sign(x: Tensor, beta: float) -> Tensor:
    r"""SS(x) = 2 sigma(beta x) (1 + beta x (1 - sigma(beta x))) - 1: a smooth sign, which overshoots a little. Source: Darabi et al. 2018 (BNN+).

    >>> swish_sign(torch.tensor([-9.0, 0.0, 9.0]), beta=5.0)
    tensor([-1.,  0.,  1.])
    """
    s = torch.sigmoid(beta * x)
    return 2 * s * (1 + beta * x * (1 - s)) - 1


def swish_slope(beta: float) -> Callable[[Tensor], Tensor]:
    r"""The derivative of `swish_sign`: beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x)). Slightly negative far from 0.

    As beta grows it becomes the peak that the derivative of a sign is. Source: Darabi et al. 2018 (BNN+).

    >>> swish_slope(beta=2.0)(torch.zeros(1))
    tensor([2.])
    """
    def slope(x: Tensor) -> Tensor:
        t = (beta * x).clamp(-40, 40)
        return beta * (2 - t * torch.tanh(t / 2)) / (1 + torch.cosh(t))

    return slope


def magnitude_penalty(weight: Tensor) -> Tensor:
    r"""sum |a - |w||, a = mean |w| of each output, held fixed: it pulls weights toward the two values that scaled signs can take.

    weight: (outputs, ...), real. Source: Darabi et al. 2018 (BNN+), regularization with a learnable scale.

    >>> magnitude_penalty(torch.tensor([[1.0, -3.0]]))
    tensor(2.)
    """
    sizes = _checks.real_tensor(weight, "weight").abs()
    return (_per_output(sizes, torch.mean).detach() - sizes).abs().sum()


def error_decay(progress: float) -> Callable[[Tensor], Tensor]:
    r"""The slope of k tanh(t x): wide and at least 1 at first, so that all weights learn, in the end as steep as a sign.

        t = 0.1 * 100^progress    from 0.1 to 10,    k = max(1 / t, 1),    slope = k t (1 - tanh^2(t x))

    progress: the share of training that is done, 0 to 1. Raises ValueError for another one.
    Source: Qin et al. 2020 (IR-Net), section 3.3, "error decay estimator".

    >>> error_decay(0.0)(torch.tensor([0.0])), error_decay(1.0)(torch.tensor([0.0]))
    (tensor([1.]), tensor([10.]))
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress is {progress}, expected a share from 0 to 1")
    t = 0.1 * 100**progress
    return lambda x: max(1 / t, 1) * t * (1 - torch.tanh(t * x) ** 2)


def balanced_signs(weight: Tensor, slope: Callable[[Tensor], Tensor] = window) -> Tensor:
    r"""2^s sign(w^), w^ = (w - mean w) / std w, s = round(log2 mean |w^|), for each output.

    Without its mean an output has about as many +1 as -1, and its signs carry as much information as signs can; a power of two multiplies by a
    shift. weight: (outputs, ...), real, at least two an output; an output whose weights are all the same keeps their sign.
    Raises TypeError or ValueError for what is not real and finite.
    Source: Qin et al. 2020 (IR-Net), section 3.2, "balanced and standardized".

    >>> balanced_signs(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[-1., -1.,  1.,  1.]])
    """
    centered = _checks.real_tensor(weight, "weight") - _per_output(weight, torch.mean)
    spread = _per_output(centered.square(), torch.sum).div(weight[0].numel() - 1).sqrt() if weight[0].numel() > 1 else torch.zeros(())
    standard = torch.where(spread > 0, centered / spread.clamp(min=torch.finfo(weight.dtype).tiny), signs(weight))
    size = _per_output(standard.detach().abs(), torch.mean)
    return binarize(standard, slope) * torch.exp2(torch.round(torch.log2(size)))


def signs(x: Tensor) -> Tensor:
    """+1 or -1 in the dtype of x, without a gradient; 0 counts as +1."""
    return torch.where(x < 0, -1.0, 1.0).to(x.dtype)


def _per_output(x: Tensor, reduce: Callable) -> Tensor:
    """`reduce` over all axes but the first, which stay as axes of 1."""
    return reduce(x.flatten(1), 1).reshape(-1, *[1] * (x.dim() - 1))
