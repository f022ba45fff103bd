"""Levels that are sums of binary codes: a matrix product becomes a few products with +-1 matrices."""

from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.calibration import as_rows
from qtoolkit.quantizers.codebook import Grid, midpoints


@dataclass(frozen=True)
class BinaryCodes:
    """Levels are all sums of +-a_1 .. +-a_bits: x ~ a_1 B_1 + ... + a_K B_K with every B +-1, so products are K binary ones.

    Starts from the residuals (a_i = mean |r_i|) and alternates: nearest level for every value, then the a that minimize
    ||x - sum a_i B_i||^2 for those signs. Neither step can raise the error. All sums are in float64.
    Source: Guo et al. 2017; Zhang et al. 2018 (LQ-Nets), section 3.2.
    See: book/chapters/06-non-uniform-quantization.ipynb#sums-of-binary-codes

    >>> BinaryCodes(bits=1)(torch.tensor([[-1.0, 3.0, -2.0]])).levels
    tensor([[-2.,  2.]])
    """

    bits: int = 2
    steps: int = 50

    def __post_init__(self):
        _checks.bit_width(self.bits, largest=8), _checks.positive_int(self.steps, "steps", smallest=0)

    def __call__(self, rows: Tensor) -> Grid:
        rows64 = as_rows(rows).double()
        a = residual_scales(rows64, self.bits)
        for _ in range(self.steps):
            a = refit_scales(rows64, a)
        return Grid(sign_sums(a).sort(1).values.to(rows.dtype))


def sign_sums(a: Tensor) -> Tensor:
    """(n_blocks, K) scales -> (n_blocks, 2^K) sums +-a_1 ... +-a_K; sum j has + at i where bit i of j is 1.

    See: book/chapters/06-non-uniform-quantization.ipynb#sums-of-binary-codes

    >>> sign_sums(torch.tensor([[3.0, 1.0]]))
    tensor([[-4.,  2., -2.,  4.]])
    """
    return as_rows(a) @ _signs(a.shape[1], a.dtype).T


def residual_scales(rows: Tensor, bits: int) -> Tensor:
    """(n_blocks, bits) a_i = mean |r_i|, r_(i+1) = r_i - a_i sign(r_i): the greedy start (Guo et al. 2017).

    See: book/chapters/06-non-uniform-quantization.ipynb#sums-of-binary-codes

    >>> residual_scales(torch.tensor([[-1.0, 3.0]]), bits=2)
    tensor([[2., 1.]])
    """
    residual, scales = as_rows(rows), []
    for _ in range(_checks.bit_width(bits)):
        scales.append(residual.abs().mean(1, keepdim=True))
        residual = residual - scales[-1] * torch.where(residual >= 0, 1.0, -1.0)
    return torch.cat(scales, dim=1)


def refit_scales(rows: Tensor, a: Tensor) -> Tensor:
    """One step of alternation: nearest sums for the values, then least squares for the scales. rows, a: float64.

    With n_j values of sum s_j at code j and its signs b_j, the normal equations are (sum n_j b_j b_j^T) a = sum s_j b_j.

    See: book/chapters/06-non-uniform-quantization.ipynb#sums-of-binary-codes
    """
    levels, order = sign_sums(a).sort(1)
    codes = order.gather(1, torch.searchsorted(midpoints(levels), as_rows(rows), right=True))
    count = torch.zeros_like(levels).scatter_add_(1, codes, torch.ones_like(rows))
    total = torch.zeros_like(levels).scatter_add_(1, codes, rows)
    signs = _signs(a.shape[1], rows.dtype)
    gram = torch.einsum("nj,ja,jb->nab", count, signs, signs)
    return (torch.linalg.pinv(gram, hermitian=True) @ (total @ signs)[..., None])[..., 0].abs()


def _signs(bits: int, dtype: torch.dtype) -> Tensor:
    return ((torch.arange(2**bits)[:, None] >> torch.arange(bits)) & 1).to(dtype) * 2 - 1
