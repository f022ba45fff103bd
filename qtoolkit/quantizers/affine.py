"""Affine (uniform) quantization: real numbers become evenly spaced codes and come back.

    q = clamp(round(x / S) + Z, qmin, qmax)          x is about S (q - Z)

S is the *scale*, the distance between two neighboring levels; Z is the *zero point*, the code of the real number 0.
(The survey writes Q(r) = Int(r/S) - Z: its Z is minus ours. torch, ONNX and this package add Z.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.calibration import min_max
from qtoolkit.quantizers.packing import pack, unpack
from qtoolkit.quantizers.qtensor import QTensor
from qtoolkit.quantizers.scheme import Scheme, checked_scheme, code_dtype, scheme_from_dict, scheme_to_dict


def quantize(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int) -> Tensor:
    """Real numbers to codes: q = clamp(round(x / S) + Z, qmin, qmax).

    x: any shape, real. scale (same unit as x) and zero_point (a code) broadcast against x. Returns integer codes, shaped
    like x. A tie rounds to the even neighbor. ONNX divides by S too and gives these codes bit for bit; torch multiplies by
    1/S in float32, which differs only for an x within one rounding error of a tie.
    Raises TypeError or ValueError for NaN, infinite, empty or integer x, S <= 0, Z outside qmin..qmax, shapes that do not fit.
    Source: Gholami et al. 2021, equation 2 (with the sign of Z turned).
    See: book/chapters/02-uniform-quantization.ipynb#rounding-and-clamping

    >>> quantize(torch.tensor([-1.0, 0.0, 0.26, 9.0]), scale=0.1, zero_point=0, qmin=-8, qmax=7)
    tensor([-8,  0,  3,  7], dtype=torch.int8)
    """
    x, scale, zero_point = _checked(x, scale, zero_point, qmin, qmax)
    q = torch.round(x / scale) + zero_point
    return q.clamp(qmin, qmax).to(code_dtype(qmin, qmax))


def dequantize(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Codes back to real numbers: x~ = S (q - Z).

    codes: integers of any shape; scale and zero_point broadcast against them. Returns reals in the dtype of scale.
    Raises TypeError or ValueError for real codes, S <= 0, shapes that do not fit.
    Source: Gholami et al. 2021, equation 3 (with the sign of Z turned).
    See: book/chapters/02-uniform-quantization.ipynb#rounding-and-clamping

    >>> dequantize(torch.tensor([-8, 0, 7]), scale=0.5, zero_point=0)
    tensor([-4.0000,  0.0000,  3.5000])
    """
    codes, scale, zero_point = _checked_codes(codes, scale, zero_point)
    return scale * (codes - zero_point)


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int) -> Tensor:
    """Quantize and come back: the real numbers that survive, still as reals in the dtype of x.

    Raises what `quantize` raises. Source: Gholami et al. 2021, section IV-A.
    See: book/chapters/02-uniform-quantization.ipynb#rounding-and-clamping

    >>> fake_quantize(torch.tensor([0.26, 9.0]), scale=0.5, zero_point=0, qmin=-8, qmax=7)
    tensor([0.5000, 3.5000])
    """
    return dequantize(quantize(x, scale, zero_point, qmin, qmax), scale, zero_point).to(x.dtype)


def choose_qparams(lo: Tensor, hi: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """The scale and zero point that spread the codes of `scheme` over the range lo..hi.

    symmetric:   S = max(|lo|, |hi|) / ((qmax - qmin) / 2),   Z = 0        (unsigned codes: S = hi / qmax)
    asymmetric:  S = (hi - lo) / (qmax - qmin),               Z = qmin - round(lo / S)

    The range is first widened to contain 0, so that 0 has a code of its own. lo and hi: floats, or tensors of one shape,
    which the results share (scale real, zero_point int32). S is never 0: an empty range gets S = 1. S stays between the
    smallest normal number and the largest for which S (q - Z) cannot overflow.
    Raises TypeError or ValueError for NaN, lo > hi, or unsigned symmetric codes for a range with negative numbers.
    Source: Gholami et al. 2021, equation 4 and section III-C.
    See: book/chapters/02-uniform-quantization.ipynb#symmetric-quantization
    See: book/chapters/02-uniform-quantization.ipynb#asymmetric-quantization-and-the-zero-point

    >>> choose_qparams(-1.0, 3.0, Scheme(bits=2, symmetric=False, signed=False))
    (tensor(1.3333), tensor(1, dtype=torch.int32))
    """
    lo, hi = _range_with_zero(lo, hi, scheme)
    steps = scheme.qmax - scheme.qmin
    if scheme.symmetric:
        scale = torch.maximum(-lo, hi) / (steps / 2 if scheme.signed else steps)
        return _usable(scale, steps), torch.zeros_like(scale, dtype=torch.int32)
    scale = _usable((hi - lo) / steps, steps)
    zero_point = scheme.qmin - torch.round(lo / scale)
    return scale, zero_point.clamp(scheme.qmin, scheme.qmax).to(torch.int32)


def absorb_zero_point(weight_codes: Tensor, zero_point: int, bias: Tensor | None = None) -> Tensor:
    """Move the zero point of the input into the bias: sum w (x - Z) + b = sum w x + (b - Z sum w).

    weight_codes: (out, ...) integers; zero_point: the Z of the input codes; bias: (out,) integers at the scale
    S_weight S_input, or None. Returns the new int32 bias, so that the inner loop multiplies raw codes. Zero padding of the
    input must then pad with Z. Raises TypeError or ValueError for real operands, shapes that do not fit, int32 overflow.
    Source: Gholami et al. 2021, section III-C; Jacob et al. 2018, section 2.3.
    See: book/chapters/02-uniform-quantization.ipynb#the-zero-point-in-a-matrix-product

    >>> absorb_zero_point(torch.tensor([[1, 2], [3, -3]]), zero_point=10, bias=torch.tensor([5, 5]))
    tensor([-25,   5], dtype=torch.int32)
    """
    weight_codes, bias = _checked_layer(weight_codes, bias)
    totals = weight_codes.flatten(1).sum(1, dtype=torch.int64)
    return _as_int32(bias - _checks.zero_point_tensor(zero_point) * totals)


class Affine:
    """Evenly spaced levels: a scheme with the scale and zero point of each block, both shaped (n_blocks, 1).

    Source: Gholami et al. 2021, section III-B.
    See: book/chapters/02-uniform-quantization.ipynb#symmetric-quantization

    >>> quantizer = Affine.fit(torch.tensor([-1.0, 0.5, 2.0]), Scheme(bits=8, symmetric=False))
    >>> quantizer.encode(torch.tensor([-1.0, 0.0, 2.0])).codes
    tensor([-128,  -43,  127], dtype=torch.int8)
    """

    def __init__(self, scheme: Scheme, scale: Tensor, zero_point: Tensor | int = 0):
        self.scheme = checked_scheme(scheme)
        self.scale = _checks.scale_tensor(scale).reshape(-1, 1)
        self.zero_point = _checks.zero_point_tensor(zero_point).reshape(-1, 1)
        if self.zero_point.shape[0] not in (1, self.scale.shape[0]):
            raise ValueError(f"{self.zero_point.shape[0]} zero points for {self.scale.shape[0]} blocks, expected one a block")
        self.zero_point = self.zero_point.expand(self.scale.shape)

    @classmethod
    def from_range(cls, lo: Tensor, hi: Tensor, scheme: Scheme) -> Affine:
        """The quantizer whose codes cover lo..hi (floats, or one value a block)."""
        return cls(scheme, *choose_qparams(lo, hi, scheme))

    @classmethod
    def fit(cls, x: Tensor, scheme: Scheme, calibration: Callable = min_max) -> Affine:
        """The quantizer for x: `calibration` maps the rows of x to the range (lo, hi) of each block."""
        rows = checked_scheme(scheme).granularity.blocks(_checks.real_tensor(x))
        return cls.from_range(*calibration(rows), scheme)

    def encode(self, x: Tensor) -> QTensor:
        """Real numbers to codes, block by block."""
        rows = self._blocks(_checks.real_tensor(x))
        codes = quantize(rows, self.scale, self.zero_point, self.scheme.qmin, self.scheme.qmax)
        return QTensor(self.scheme.granularity.unblock(codes, x.shape), self)

    def decode(self, q: QTensor) -> Tensor:
        """Codes back to real numbers, block by block."""
        if not isinstance(q, QTensor):
            raise TypeError(f"q is a {type(q).__name__}, expected a QTensor from encode(x)")
        rows = dequantize(self._blocks(q.codes), self.scale, self.zero_point)
        return self.scheme.granularity.unblock(rows, q.codes.shape)

    def fake(self, x: Tensor) -> Tensor:
        """encode, then decode, in the dtype of x."""
        return self.decode(self.encode(x)).to(x.dtype)

    @property
    def bits(self) -> int:
        """Bits of one code."""
        return self.scheme.bits

    @property
    def signed(self) -> bool:
        """Whether codes may be negative."""
        return self.scheme.signed

    @property
    def code_dtype(self) -> torch.dtype:
        """The integer dtype of unpacked codes."""
        return self.scheme.code_dtype

    def parts(self) -> dict[str, Tensor]:
        """What a file stores beside the codes: scales, and zero points (packed like codes) if there can be any."""
        parts = {"scale": self.scale.flatten()}
        return parts if self.scheme.symmetric else parts | {"zero_point": pack(self.zero_point, self.bits)}

    def about(self) -> dict:
        """The scheme as plain JSON values."""
        return scheme_to_dict(self.scheme)

    @classmethod
    def from_parts(cls, parts: dict[str, Tensor], about: dict) -> Affine:
        """Undo `parts` and `about`."""
        scheme, scale = scheme_from_dict(about), parts["scale"]
        if scheme.symmetric:
            return cls(scheme, scale)
        return cls(scheme, scale, unpack(parts["zero_point"], scheme.bits, scale.numel(), scheme.signed))

    def _blocks(self, x: Tensor) -> Tensor:
        rows = self.scheme.granularity.blocks(x)
        if self.scale.shape[0] not in (1, rows.shape[0]):
            raise ValueError(f"a tensor of shape {tuple(x.shape)} has {rows.shape[0]} blocks under {self.scheme.granularity}, "
                             f"but this quantizer was fitted to {self.scale.shape[0]}; fit a new one")
        return rows

    def __repr__(self) -> str:
        return f"Affine({self.scheme}, blocks={self.scale.shape[0]})"


def _range_with_zero(lo, hi, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """lo and hi as real tensors of one shape, widened to contain 0."""
    lo, hi, scheme = _checks.real_number(lo, "lo"), _checks.real_number(hi, "hi"), checked_scheme(scheme)
    if lo.shape != hi.shape:
        raise ValueError(f"lo has shape {tuple(lo.shape)} and hi {tuple(hi.shape)}, expected one shape")
    if (lo > hi).any():
        raise ValueError(f"lo exceeds hi by up to {(lo - hi).max().item():g}, expected lo <= hi; swap them")
    if scheme.symmetric and not scheme.signed and (lo < 0).any():
        raise ValueError(f"the range starts at {lo.min().item():g}, but unsigned symmetric codes start at 0; "
                         "use signed=True or symmetric=False")
    return lo.clamp(max=0), hi.clamp(min=0)


def _usable(scale: Tensor, steps: int) -> Tensor:
    """The scale, kept away from 0 and infinity."""
    limits = torch.finfo(scale.dtype)
    return torch.where(scale > 0, scale, 1).clamp(limits.tiny, limits.max / (steps + 1))


def _checked_codes(codes: Tensor, scale, zero_point) -> tuple[Tensor, Tensor, Tensor]:
    """Codes as int32, with a scale and zero point that fit them."""
    scale, zero_point = _checks.scale_tensor(scale), _checks.zero_point_tensor(zero_point)
    _checks.fits("codes", _checks.code_tensor(codes), scale=scale, zero_point=zero_point)
    return codes.to(torch.int32), scale, zero_point


def _checked_layer(weight_codes: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weight of a layer and its bias as int64, zeros if there is none."""
    if _checks.code_tensor(weight_codes, "weight_codes").dim() < 2:
        raise ValueError(f"weight_codes has shape {tuple(weight_codes.shape)}, expected (out, in) or (out, in, height, width)")
    out = len(weight_codes)
    bias = torch.zeros(out, dtype=torch.int64) if bias is None else _checks.code_tensor(bias, "bias").to(torch.int64)
    if bias.shape != (out,):
        raise ValueError(f"bias has shape {tuple(bias.shape)}, expected ({out},): one value an output channel")
    return weight_codes, bias


def _as_int32(bias: Tensor) -> Tensor:
    if bias.numel() and bias.abs().max() >= 2**31:
        raise ValueError(f"the new bias reaches {bias.abs().max().item()}, which int32 cannot hold; use fewer bits")
    return bias.to(torch.int32)


def _checked(x: Tensor, scale, zero_point, qmin: int, qmax: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, scale and zero point as tensors that fit each other and the codes qmin..qmax."""
    x = _checks.widened(_checks.real_tensor(x))
    scale, zero_point = _checks.scale_tensor(scale), _checks.zero_point_tensor(zero_point)
    _checks.fits("x", x, scale=scale, zero_point=zero_point)
    _checks.code_range(qmin, qmax)
    if (zero_point < qmin).any() or (zero_point > qmax).any():
        raise ValueError(f"zero_point spans {zero_point.min().item()}..{zero_point.max().item()}, expected codes in "
                         f"{qmin}..{qmax}: 0 needs a code of its own")
    return x, scale, zero_point
