"""Linear layers whose weights are signs or entries of a small table: torch.ops.qtoolkit.table_linear.

    binary       y = scale * sum sign(x) sign(w) + b             1 bit a weight; sign(0) = +1
    ternary      y = scale * sum sign(x) w + b, w in -1, 0, +1   2 bits a weight
    codebook     y = sum x C[index] + b                          4 or 5 bits a weight, 16 or 32 shared values C

The bytes say which of the three a layer is. `x` is real, (..., K); the result is (..., N) in the dtype of x. Binary and ternary layers are
exact integers up to the last step and equal on all machines; codebook layers add real numbers, whose last bits may differ.
(Ternary weights with int8 inputs: groupwise.py. Convolutions of signs: binary_conv.py.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import as_bytes, header_bytes

_MAGIC = 0x31544B51
_HEADER = struct.Struct("<5i44x")
_START = 64 + 32 * 4
_SIGNS = torch.tensor([1.0, -1.0, 0.0])


@dataclass(frozen=True)
class TableCodes:
    """What the bytes say: indices (N, taps, K), entries (32,), scale (N,), bias (N,), bits; taps is 1 unless it is a convolution.

    Indices of binary and ternary layers: 0 is +1, 1 is -1, 2 is 0.
    """

    indices: Tensor
    entries: Tensor
    scale: Tensor
    bias: Tensor
    bits: int

    @property
    def outputs(self) -> int:
        """N."""
        return self.indices.shape[0]

    @property
    def taps(self) -> int:
        """Height x width of the kernel."""
        return self.indices.shape[1]

    @property
    def inputs(self) -> int:
        """K, of one tap."""
        return self.indices.shape[2]

    def weight(self) -> Tensor:
        """The weights as real numbers, (N, taps, K), without scale."""
        return (_SIGNS if self.bits <= 2 else self.entries)[self.indices]


def signs(x: Tensor) -> Tensor:
    """+1 or -1 for each number; 0 counts as +1."""
    return torch.where(x < 0, -1.0, 1.0)


def pack_binary(weight: Tensor, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """The bytes of a layer of signs: weight (N, K), or (N, K, height, width) for a convolution, of which only the sign counts;
    scale and bias (N,) real.

    Source: Rastegari et al. 2016 (XNOR-Net), section 3. Raises ValueError for what does not fit.
    """
    return _pack((_by_taps(weight) < 0).to(torch.int64), torch.zeros(32), scale, bias, bits=1)


def pack_ternary(weight: Tensor, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """The bytes of a layer of signs and zeros: weight as in `pack_binary`, of which the sign counts, and whether it is 0.

    Source: Li, Zhang and Liu 2016 (ternary weight networks), section 2. Raises ValueError for what does not fit.
    """
    weight = _by_taps(weight)
    return _pack(torch.where(weight == 0, 2, (weight < 0).to(torch.int64)), torch.zeros(32), scale, bias, bits=2)


def _by_taps(weight: Tensor) -> Tensor:
    """(N, K) or (N, K, height, width) as (N, taps, K)."""
    if not isinstance(weight, Tensor) or weight.dim() not in (2, 4) or weight.numel() == 0 or not weight.isfinite().all():
        raise ValueError("weight is not a non-empty (outputs, inputs) or (outputs, channels, height, width) tensor of finite numbers")
    return weight.detach().reshape(*weight.shape[:2], -1).transpose(1, 2)


def pack_codebook(indices: Tensor, codebook: Tensor, bias: Tensor | None = None) -> Tensor:
    """The bytes of a layer of shared weights: indices (N, K) into a codebook of 1 to 32 real values; bias (N,) real.

    Up to 16 values take 4 bits a weight, more take 5 1/3 (six indices in 32 bits).
    Source: Han, Mao and Dally 2016, section 3. Raises TypeError or ValueError for what does not fit.
    """
    if indices.is_floating_point() or indices.dim() != 2 or indices.numel() == 0:
        raise TypeError(f"indices are {indices.dtype} of shape {tuple(indices.shape)}, expected integers (outputs, inputs), not empty")
    size = codebook.numel()
    if codebook.dim() != 1 or not 1 <= size <= 32 or not codebook.isfinite().all():
        raise ValueError(f"the codebook has shape {tuple(codebook.shape)}, expected 1 to 32 finite values")
    if indices.min() < 0 or indices.max() >= size:
        raise ValueError(f"indices span {indices.min()}..{indices.max()}, expected 0..{size - 1}: the entries of the codebook")
    half = 16 if size <= 16 else 32
    entries = torch.nn.functional.pad(codebook.detach().float(), (0, half - size)).repeat(32 // half)
    return _pack(indices.to(torch.int64)[:, None], entries, None, bias, bits=4 if half == 16 else 5)


def unpack_table(layer: Tensor) -> TableCodes:
    """Undo `pack_binary`, `pack_ternary` or `pack_codebook`. Raises ValueError if the bytes are not such a layer."""
    n, k, taps, bits = _sizes(layer)
    padded, each, planes = n + -n % 16, _in_a_word(bits), _planes(bits)
    start = _START + 4 * padded * _reals(bits)
    entries, reals = (layer[a:b].clone().view(torch.float32) for a, b in ((64, _START), (_START, start)))
    words = layer[start:].clone().view(torch.int32).reshape(padded // 16, taps, -1, planes, 16, 1)
    width = 32 // each
    digits = words >> (torch.arange(each, dtype=torch.int32) * width) & (1 << width) - 1
    indices = torch.where(digits[:, :, :, 1] == 0, 2, digits[:, :, :, 0]) if planes == 2 else digits[:, :, :, 0]
    indices = indices.permute(0, 3, 1, 2, 4).reshape(padded, taps, -1)[:n, :, :k]  # from (block, tap, word, output, digit)
    return TableCodes(indices, entries, reals[:n], reals[padded : padded + n], bits)


def table_reference(x: Tensor, codes: TableCodes) -> Tensor:
    """The definition, in plain torch.

    >>> table_reference(torch.tensor([[3.0, -1.0]]), unpack_table(pack_binary(torch.tensor([[1.0, -1.0]]))))
    tensor([[2.]])
    """
    if codes.taps != 1:
        raise ValueError(f"these are the bytes of a convolution of {codes.taps} taps, expected a linear layer")
    weight = codes.weight()[:, 0]
    return (signs(x) @ weight.T) * codes.scale + codes.bias if codes.bits <= 2 else x @ weight.T + codes.bias


def _planes(bits: int) -> int:
    """Of ternary weights the signs have words of their own, and the zeros."""
    return 2 if bits == 2 else 1


def _reals(bits: int) -> int:
    """Numbers that go with an output: scale, bias, and of ternary weights how many are not 0."""
    return 3 if bits == 2 else 2


def _in_a_word(bits: int) -> int:
    """Weights of one output in a word of 32 bits (of one plane)."""
    return 32 if bits <= 2 else 32 // bits


def _pack(indices: Tensor, entries: Tensor, scale: Tensor | None, bias: Tensor | None, bits: int) -> Tensor:
    n, taps, k = indices.shape
    planes, reals = indices[None], [_real(scale, n, 1.0, "scale"), _real(bias, n, 0.0, "bias")]
    if bits == 2:
        planes = torch.stack([indices == 1, indices != 2]).long()
        reals.append(_real(planes[1].sum((1, 2)), n, 0.0, "kept"))
    words = torch.stack([_words(plane, _in_a_word(bits)) for plane in planes], 3)
    header = header_bytes(_HEADER.pack(_MAGIC, n, k, bits, taps))
    return torch.cat([header, *(part.contiguous().view(torch.uint8).flatten() for part in (entries, *reals, words))])


def _words(digits: Tensor, each: int) -> Tensor:
    """Numbers (N, taps, K) of 32 / `each` bits as words (blocks of 16 outputs, taps, words of a tap, 16)."""
    n, taps, k = digits.shape
    padded = torch.nn.functional.pad(digits, (0, -k % each, 0, 0, 0, -n % 16)).reshape(-1, 16, taps, -(-k // each), each)
    words = (padded << (torch.arange(each) * (32 // each))).sum(4)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32).permute(0, 2, 3, 1)


def _real(value: Tensor | None, n: int, default: float, name: str) -> Tensor:
    value = torch.full((n,), default) if value is None else value.detach().float()
    if value.shape != (n,) or not value.isfinite().all():
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({n},) finite values")
    return torch.nn.functional.pad(value, (0, -n % 16))


def _sizes(layer: Tensor) -> tuple[int, int, int, int]:
    if as_bytes(layer).numel() >= _START:
        magic, n, k, bits, taps = _HEADER.unpack(layer[: _HEADER.size].numpy().tobytes())
        if magic == _MAGIC and n > 0 and k > 0 and taps > 0 and (bits in (1, 2) or bits in (4, 5) and taps == 1) and taps * k <= 1 << 24:
            words = taps * -(-k // _in_a_word(bits)) * _planes(bits)
            if layer.numel() == _START + -(-n // 16) * 64 * (_reals(bits) + words):
                return n, k, taps, bits
    raise ValueError("these bytes are not a binary, ternary or codebook layer (header or length is wrong); make them with pack_binary, "
                     "pack_ternary or pack_codebook")


def _linear_sizes(layer: Tensor) -> tuple[int, int]:
    n, k, taps, _ = _sizes(layer)
    if taps != 1:
        raise ValueError(f"these are the bytes of a convolution of {taps} taps, expected a linear layer")
    return n, k


portable_table_linear = portable.real_op(table_reference, unpack_table)
_kernel = ops.native.real_op(library.qk_table, _linear_sizes) if library else portable_table_linear
table_linear = ops.register("table_linear(Tensor x, Tensor layer, SymInt out_features) -> Tensor", _kernel, ops.check_float,
                            ops.linear_shape(None))
