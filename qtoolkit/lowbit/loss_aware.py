"""Signs and zeros that are near where it matters: each weight counts by how much the loss curves there.

    d = second moment of the gradient, as Adam keeps it (its square root)
    loss_aware_signs(w, d)        a B with the smallest sum d (w - a B)^2
    loss_aware_ternary(w, d)      the same with zeros
"""

import torch
from torch import Tensor

from qtoolkit.lowbit.binary import signs
from qtoolkit.quantizers import _checks


def loss_aware_signs(weight: Tensor, curvature: Tensor) -> Tensor:
    r"""a sign(w) for each output, with the a that loses least where the loss is curved.

        minimize sum d (w - a B)^2:    B = sign(w),    a = sum d |w| / sum d

    weight: (outputs, ...), real. curvature: its shape, d > 0, for instance the square root of Adam's second moment. With all d equal these
    are the scaled signs of XNOR-Net. Raises TypeError or ValueError for what is not real and finite, another shape, or a d of 0 or less.
    Source: Hou, Yao and Kwok 2017 (loss-aware binarization), section 3, proposition 3.1.

    >>> loss_aware_signs(torch.tensor([[1.0, -3.0]]), torch.tensor([[3.0, 1.0]]))
    tensor([[ 1.5000, -1.5000]])
    """
    sizes, d = _rows(weight, curvature)
    size = (d * sizes).sum(1) / d.sum(1)
    return signs(weight) * size.reshape(-1, *[1] * (weight.dim() - 1)).to(weight.dtype)


def loss_aware_ternary(weight: Tensor, curvature: Tensor) -> Tensor:
    r"""-a, 0 or a for each weight: the best a and the best zeros of each output, found by sorting.

        with S the weights that are kept:    a = sum_S d |w| / sum_S d,    error = sum d w^2 - (sum_S d |w|)^2 / sum_S d

    For a given a a weight is kept if |w| > a / 2, whatever its d; so S holds the largest, and trying every number of them is enough. The
    paper alternates between a and S, which may stop at a worse pair. Arguments, errors: as for `loss_aware_signs`.
    Source: Hou and Kwok 2018 (loss-aware ternarization), section 3.

    >>> loss_aware_ternary(torch.tensor([[1.0, -3.0, 0.2]]), torch.ones(1, 3))
    tensor([[ 0., -3.,  0.]])
    """
    sizes, d = _rows(weight, curvature)
    order = sizes.argsort(1, descending=True)
    weighted, counted = (d * sizes).gather(1, order).cumsum(1), d.gather(1, order).cumsum(1)
    best = (weighted**2 / counted).argmax(1, keepdim=True)
    size = weighted.gather(1, best) / counted.gather(1, best)
    kept = sizes >= sizes.gather(1, order.gather(1, best))
    return (kept * size).reshape(weight.shape).to(weight.dtype) * torch.sign(weight)


def _rows(weight: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
    """|w| and d as float64 rows, one an output."""
    if _checks.real_tensor(weight, "weight").dim() < 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (outputs, ...)")
    if _checks.real_tensor(curvature, "curvature").shape != weight.shape or not (curvature > 0).all():
        raise ValueError(f"curvature has shape {tuple(curvature.shape)} and the smallest value {curvature.min().item():g}, expected the weight's shape "
                         f"{tuple(weight.shape)} and values above 0")
    return weight.abs().flatten(1).double(), curvature.flatten(1).double()
