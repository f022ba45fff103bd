"""The arithmetic of the integer kernels in plain torch: the definition that every compiled kernel meets bit for bit.

All of it follows from one expansion (Gholami et al. 2021, section III-B; Jacob et al. 2018, equation 4). With
x = S_x (q_x - Z_x) and w = S_w q_w, a linear layer is

    y = sum x w + b = S_x S_w ( sum q_x q_w  -  Z_x sum q_w  +  b / (S_x S_w) )
                                 integers       known before    rounded once, before

so only one real number is left, M = S_x S_w / S_y, which takes the sum to the output's codes. It is written as an integer
times a power of two, M = m 2^-s, and the multiplication as integer multiply, add, shift.

**The rounding rule**, the only one in the integer world of this package:

    requantize(a) = clamp( (a m + 2^(s-1)) >> s  +  Z_y )        in 64 bits; >> rounds toward minus infinity

that is floor(a M + 1/2): to nearest, ties upward.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_INPUTS = 32768
"""K at most: 255 * 127 * 32768 + 2^30 still fits the int32 sum, whatever the codes and the zero point."""


def quantize_multiplier(real: Tensor) -> tuple[Tensor, Tensor]:
    """Positive real factors as integers: M = m 2^-s with m < 2^31 and s from 1 to 62, both int32.

    m keeps 31 significant bits, so M is met within one part in 2^31. Raises ValueError for M <= 0, M >= 2^29 or NaN.
    Source: Jacob et al. 2018, section 2.2.

    >>> quantize_multiplier(torch.tensor([0.25, 0.3]))
    (tensor([1073741824, 1288490240], dtype=torch.int32), tensor([32, 32], dtype=torch.int32))
    """
    real = torch.as_tensor(real, dtype=torch.float64)
    if not ((real > 0) & (real < 2.0**29)).all():
        raise ValueError(f"multipliers span {real.min().item():g}..{real.max().item():g}, expected values above 0 and below 2^29")
    _, exponent = torch.frexp(real)
    shift = (31 - exponent.to(torch.int64)).clamp(max=62)
    multiplier = torch.round(torch.ldexp(real, shift)).to(torch.int64)
    full = multiplier == 2**31  # 0.99999999999 rounds up to 1.0, which needs a bit more
    multiplier, shift = torch.where(full, 2**30, multiplier), torch.where(full, shift - 1, shift)
    return multiplier.to(torch.int32), shift.to(torch.int32)


def requantize(sums: Tensor, multiplier: Tensor, shift: Tensor, zero_point: int, lowest: int = -128,
               highest: int = 127) -> Tensor:
    """int32 sums to int8 codes: q = clamp((a m + 2^(s-1) >> s) + Z, lowest, highest).

    sums: (..., N); multiplier and shift: (N,) or scalars, from `quantize_multiplier`. A fused ReLU is lowest = Z.

    >>> requantize(torch.tensor([-6, -2, 2, 6, 999]), *quantize_multiplier(0.25), zero_point=0)   # ties go up
    tensor([ -1,   0,   1,   2, 127], dtype=torch.int8)
    """
    product = sums.to(torch.int64) * multiplier.to(torch.int64)
    shift = shift.to(torch.int64)
    rounded = (product + (1 << (shift - 1))) >> shift
    return (rounded + zero_point).clamp(lowest, highest).to(torch.int8)


def int8_sums(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The integer heart: a = sum_k q_x q_w + bias, exact, as int64.

    x: (..., K) int8; weight: (N, K) int8; bias: (N,) integers. float64 holds every integer up to 2^53, so the product of
    real matrices is exact here and far faster than torch's integer one.
    """
    return (x.double() @ weight.double().T).to(torch.int64) + bias


def int8_linear(x: Tensor, weight: Tensor, bias: Tensor, multiplier: Tensor, shift: Tensor, zero_point: int,
                lowest: int = -128, highest: int = 127) -> Tensor:
    """int8 to int8: a linear layer whose inputs, weights and outputs are codes; `bias` has absorbed the input's zero point."""
    return requantize(int8_sums(x, weight, bias), multiplier, shift, zero_point, lowest, highest)


def int8_linear_float(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, real_bias: Tensor) -> Tensor:
    """int8 to float32: y = a scale + b, with scale (N,) or (..., N), each step rounded to float32."""
    return int8_sums(x, weight, bias).to(torch.float32) * scale + real_bias


def quantize_int8(x: Tensor, scale: float | Tensor, zero_point: int = 0) -> Tensor:
    """float32 to int8: q = clamp(round(x / S) + Z, -128, 127), ties to even."""
    return (torch.round(x.to(torch.float32) / scale) + zero_point).clamp(-128, 127).to(torch.int8)


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Each row with its own scale, S = max |x| / 127: returns codes (..., K) and scales (..., 1). A zero row gets S = 1.

    >>> quantize_rows(torch.tensor([[1.0, -2.0], [0.0, 0.0]]))
    (tensor([[  64, -127],
            [   0,    0]], dtype=torch.int8), tensor([[0.0157],
            [1.0000]]))
    """
    limits = torch.finfo(torch.float32)
    scale = x.to(torch.float32).abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale > 0, scale, 1).clamp(limits.tiny, limits.max / 255)
    return quantize_int8(x, scale), scale


def int8_dynamic_linear(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, real_bias: Tensor) -> Tensor:
    """float32 to float32 through int8: quantize each row of x with its own scale, then `int8_linear_float`."""
    codes, row_scale = quantize_rows(x)
    return int8_linear_float(codes, weight, bias, row_scale * scale, real_bias)
