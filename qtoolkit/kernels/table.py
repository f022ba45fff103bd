"""Linear layers whose weights are signs or entries of a small table: torch.ops.qtoolkit.table_linear.

    binary       y = scale * sum sign(x) sign(w) + b             1 bit a weight; sign(0) = +1
    codebook     y = sum x C[index] + b                          4 or 5 bits a weight, 16 or 32 shared values C

The bytes say which of the two a layer is. `x` is real, (..., K); the result is (..., N) in the dtype of x. Binary layers are exact
integers up to the last step and equal on all machines; codebook layers add real numbers, whose last bits may differ.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import as_bytes

_MAGIC = 0x31544B51
_HEADER = struct.Struct("<4i48x")
_START = 64 + 32 * 4


@dataclass(frozen=True)
class TableCodes:
    """What the bytes say: indices (N, K) (of signs: 0 is +1, 1 is -1), entries (32,), scale (N,), bias (N,), bits."""

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
    def inputs(self) -> int:
        """K."""
        return self.indices.shape[1]


def pack_binary(weight: Tensor, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """The bytes of a layer of signs: weight (N, K), of which only the sign counts; scale and bias (N,) real.

    Source: Rastegari et al. 2016 (XNOR-Net), section 3. Raises TypeError or ValueError for what does not fit.
    """
    if not isinstance(weight, Tensor) or weight.dim() != 2 or weight.numel() == 0 or not weight.isfinite().all():
        raise ValueError("weight is not a non-empty (outputs, inputs) tensor of finite numbers")
    return _pack((weight < 0).to(torch.int64), torch.zeros(32), scale, bias, bits=1)


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
    return _pack(indices.to(torch.int64), entries, None, bias, bits=4 if half == 16 else 5)


def unpack_table(layer: Tensor) -> TableCodes:
    """Undo `pack_binary` or `pack_codebook`. Raises ValueError if the bytes are not such a layer."""
    n, k, bits = _sizes(layer)
    padded, each = n + -n % 16, 32 // bits
    entries, reals = (layer[a:b].clone().view(torch.float32) for a, b in ((64, _START), (_START, _START + 8 * padded)))
    words = layer[_START + 8 * padded :].clone().view(torch.int32).reshape(padded // 16, -1, 16, 1)
    indices = words >> (torch.arange(each, dtype=torch.int32) * bits) & (1 << bits) - 1
    indices = indices.transpose(1, 2).reshape(padded, -1)[:n, :k]
    return TableCodes(indices, entries, reals[:n], reals[padded : padded + n], bits)


def table_reference(x: Tensor, codes: TableCodes) -> Tensor:
    """The definition, in plain torch.

    >>> table_reference(torch.tensor([[3.0, -1.0]]), unpack_table(pack_binary(torch.tensor([[1.0, -1.0]]))))
    tensor([[2.]])
    """
    if codes.bits == 1:
        signs = torch.where(x < 0, -1.0, 1.0)
        return (signs @ (1.0 - 2.0 * codes.indices).T) * codes.scale + codes.bias
    return x @ codes.entries[codes.indices].T + codes.bias


def _pack(indices: Tensor, entries: Tensor, scale: Tensor | None, bias: Tensor | None, bits: int) -> Tensor:
    n, k = indices.shape
    each = 32 // bits
    padded = torch.nn.functional.pad(indices, (0, -k % each, 0, -n % 16)).reshape(-1, 16, -(-k // each), each)
    words = (padded << (torch.arange(each) * bits)).sum(3)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32).transpose(1, 2).contiguous()
    reals = [_real(scale, n, 1.0, "scale"), _real(bias, n, 0.0, "bias")]
    header = torch.frombuffer(bytearray(_HEADER.pack(_MAGIC, n, k, bits)), dtype=torch.uint8)
    return torch.cat([header, *(part.view(torch.uint8).flatten() for part in (entries, *reals, words))])


def _real(value: Tensor | None, n: int, default: float, name: str) -> Tensor:
    value = torch.full((n,), default) if value is None else value.detach().float()
    if value.shape != (n,) or not value.isfinite().all():
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({n},) finite values")
    return torch.nn.functional.pad(value, (0, -n % 16))


def _sizes(layer: Tensor) -> tuple[int, int, int]:
    if as_bytes(layer).numel() >= _START:
        magic, n, k, bits = _HEADER.unpack(layer[: _HEADER.size].numpy().tobytes())
        if magic == _MAGIC and n > 0 and k > 0 and bits in (1, 4, 5):
            if layer.numel() == _START + -(-n // 16) * (128 + 64 * -(-k // (32 // bits))):
                return n, k, bits
    raise ValueError("these bytes are not a binary or codebook layer (header or length is wrong); make them with pack_binary or pack_codebook")


portable_table_linear = portable.real_op(table_reference, unpack_table)
_kernel = ops.native.real_op(library.qk_table, lambda layer: _sizes(layer)[:2]) if library else portable_table_linear
table_linear = ops.register("table_linear(Tensor x, Tensor layer, SymInt out_features) -> Tensor", _kernel, ops.check_float,
                            ops.linear_shape(None))
