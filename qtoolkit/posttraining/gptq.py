"""Rounding one column of weights after the other, and letting the columns still to come make good for each error.

    H = input_hessian(x)                 what an error in each weight does to the output, and errors in two weights together
    q = gptq(w, H, Affine.fit(w, ...))   codes on the quantizer's own levels, chosen for the output and not for the weights
"""

from __future__ import annotations

import torch
from torch import Tensor

from qtoolkit.quantizers import Affine, PerChannel, PerTensor, QTensor, _checks, fake_quantize

_BLOCK = 128


def input_hessian(x: Tensor) -> Tensor:
    r"""H = X^T X / n, in float64: the curvature of the squared error of a linear layer's output, E ||(W~ - W) x||^2 = tr(D H D^T).

    x: (..., inputs), real, the inputs that the layer saw during calibration. Returns (inputs, inputs). Batches of unequal size are to be
    added up weighted by their size. Raises TypeError or ValueError for what is not real and finite, or has no axis.
    Source: Frantar et al. 2023, section 3 (their 2 X X^T: a factor changes nothing).

    >>> input_hessian(torch.tensor([[1.0, 2.0], [3.0, 0.0]]))
    tensor([[5., 1.],
            [1., 2.]], dtype=torch.float64)
    """
    if _checks.real_tensor(x).dim() == 0:
        raise ValueError("x has no axis, expected shape (..., inputs)")
    rows = x.reshape(-1, x.shape[-1]).double()
    return rows.T @ rows / len(rows)


def gptq(weight: Tensor, hessian: Tensor, quantizer: Affine, damp: float = 0.01) -> QTensor:
    r"""The codes of `weight` whose layer output is close to the exact one, found column by column.

        e = (w_i - Q(w_i)) / U_ii,    w_j <- w_j - e U_ij    for j > i,        U^T U = (H + damp mean(diag H) I)^-1,  U upper triangular

    weight: (outputs, inputs), real. hessian: (inputs, inputs), symmetric, from `input_hessian`. quantizer: one scale for all weights or one
    an output, fitted beforehand; its levels are kept, so the codes cost the same as rounding to nearest. Row i of U says how the columns
    behind i best answer an error in column i, when the columns before it can no longer move: the Cholesky factor is all those answers
    at once. Where H is diagonal nothing can answer, and the result is rounding to nearest.
    An input that was always 0 tells nothing, and its weights are rounded to nearest. `damp` > 0 keeps H invertible when there were fewer
    inputs than weights.
    Raises TypeError or ValueError for what is not real or finite, does not fit, is not symmetric, or for a quantizer with other blocks.
    Source: Frantar et al. 2023, section 4, algorithm 1; Frantar and Alistarh 2022 (OBQ).

    >>> from qtoolkit.quantizers import Scheme
    >>> weight, x = torch.tensor([[0.4, 0.4]]), torch.ones(8, 2)  # both inputs are always the same
    >>> steps_of_one = Affine(Scheme(bits=4), scale=1.0)
    >>> steps_of_one.encode(weight).codes, gptq(weight, input_hessian(x), steps_of_one).codes
    (tensor([[0, 0]], dtype=torch.int8), tensor([[0, 1]], dtype=torch.int8))
    """
    checked_layer(weight, hessian, quantizer)
    if not 0 <= damp < float("inf"):
        raise ValueError(f"damp is {damp}, expected 0 or more, a share of the hessian's mean diagonal")
    silent = hessian.diagonal() == 0
    answers = _answers(hessian, silent, damp)
    left, rounded = weight.detach().double().clone(), torch.empty_like(weight, dtype=torch.float64)
    scheme, scale, zero_point = quantizer.scheme, quantizer.scale.double(), quantizer.zero_point
    for start in range(0, left.shape[1], _BLOCK):  # the far columns hear of a block's errors all at once
        stop = min(start + _BLOCK, left.shape[1])
        errors = torch.zeros(len(left), stop - start, dtype=torch.float64)
        for i in range(start, stop):
            rounded[:, i] = fake_quantize(left[:, i : i + 1], scale, zero_point, scheme.qmin, scheme.qmax)[:, 0]
            errors[:, i - start] = (left[:, i] - rounded[:, i]) / answers[i, i]
            left[:, i + 1 : stop] -= errors[:, i - start, None] * answers[i, i + 1 : stop]
        left[:, stop:] -= errors @ answers[start:stop, stop:]
    return quantizer.encode(rounded.to(weight.dtype))


def _answers(hessian: Tensor, silent: Tensor, damp: float) -> Tensor:
    """U of `gptq`, in float64."""
    h = hessian.detach().double().clone()
    h.diagonal()[silent] = 1.0
    h.diagonal().add_(damp * hessian.diagonal().double().mean())
    lower, failed = torch.linalg.cholesky_ex(h)
    if failed:
        raise ValueError(f"the hessian is not positive definite with damp={damp}; use a larger one (0.01 or 0.1), or more inputs")
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)


def checked_layer(weight: Tensor, hessian: Tensor, quantizer: Affine) -> None:
    """Raise TypeError or ValueError unless these three fit each other."""
    if _checks.real_tensor(weight, "weight").dim() != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (outputs, inputs); flatten a convolution's and unfold its inputs")
    inputs = weight.shape[1]
    if _checks.real_tensor(hessian, "hessian").shape != (inputs, inputs) or not torch.allclose(hessian, hessian.T):
        raise ValueError(f"hessian has shape {tuple(hessian.shape)}, expected a symmetric ({inputs}, {inputs}); see input_hessian")
    if not isinstance(quantizer, Affine):
        raise TypeError(f"quantizer is a {type(quantizer).__name__}, expected an Affine")
    if quantizer.scheme.granularity not in (PerTensor(), PerChannel()) or len(quantizer.scale) not in (1, len(weight)):
        raise ValueError(f"the quantizer has {len(quantizer.scale)} blocks under {quantizer.scheme.granularity}, expected PerTensor() or PerChannel(), "
                         f"fitted to {len(weight)} outputs")
