"""Linear layers with sparse real weights in compressed rows (CSR): torch.ops.qtoolkit.sparse_linear.

`x` is real, (..., K); the result is (..., N) in the dtype of x. One row gathers its inputs; from 8 rows on, the batch is laid out so
that one index serves up to 64 of them (csrc/sparse.h tells why that matters). Sums of real numbers: their last bits may differ
between machines.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import as_bytes, header_bytes

_MAGIC = 0x31534B51
_HEADER = struct.Struct("<4i48x")


@dataclass(frozen=True)
class SparseRows:
    """What the bytes say: start (N + 1,), index (count,) int32, value (count,) float32, bias (N,) float32, inputs K."""

    start: Tensor
    index: Tensor
    value: Tensor
    bias: Tensor
    inputs: int

    @property
    def outputs(self) -> int:
        """N."""
        return self.bias.numel()


def pack_sparse(weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The bytes of a layer from its dense weight (N, K): only values that are not 0 are stored, 8 bytes each.

    Source: Han, Mao and Dally 2016, section 2 (compressed rows). Raises ValueError for what does not fit.

    >>> pack_sparse(torch.tensor([[0.0, 2.0], [0.0, 0.0]])).numel()    # 64 + 2 biases + 3 starts + index + value
    92
    """
    if weight.dim() != 2 or weight.numel() == 0 or not weight.is_floating_point() or not weight.isfinite().all():
        raise ValueError(f"weight is {weight.dtype} of shape {tuple(weight.shape)}, expected finite reals (outputs, inputs), not empty")
    weight = weight.detach().float()
    n, k = weight.shape
    bias = torch.zeros(n) if bias is None else bias.detach().float()
    if bias.shape != (n,) or not bias.isfinite().all():
        raise ValueError(f"bias has shape {tuple(bias.shape)}, expected ({n},) finite values")
    rows, index = weight.nonzero(as_tuple=True)
    start = torch.zeros(n + 1, dtype=torch.int32)
    start[1:] = torch.bincount(rows, minlength=n).cumsum(0)
    header = header_bytes(_HEADER.pack(_MAGIC, n, k, index.numel()))
    parts = (bias, start, index.to(torch.int32), weight[rows, index])
    return torch.cat([header, *(part.contiguous().view(torch.uint8) for part in parts)])


def unpack_sparse(layer: Tensor) -> SparseRows:
    """Undo `pack_sparse` (as rows). Raises ValueError if the bytes are not such a layer."""
    n, k, count = _sizes(layer)
    bias, start, index, value = layer[64:].clone().view(torch.int32).split([n, n + 1, count, count])
    if start[0] < 0 or start[-1] > count or (start.diff() < 0).any():
        raise ValueError("the rows of the sparse layer do not follow each other; the bytes are damaged")
    if (index[start[0] : start[-1]] < 0).any() or (index[start[0] : start[-1]] >= k).any():
        raise ValueError(f"indices of the sparse layer lead outside its {k} inputs; the bytes are damaged")
    return SparseRows(start, index, value.view(torch.float32), bias.view(torch.float32), k)


def sparse_reference(x: Tensor, rows: SparseRows) -> Tensor:
    """The definition: scatter the values into a dense matrix and multiply."""
    dense = torch.zeros(rows.outputs, rows.inputs)
    output = torch.repeat_interleave(torch.arange(rows.outputs), rows.start.diff().long())
    used = slice(int(rows.start[0]), int(rows.start[-1]))
    dense.index_put_((output, rows.index[used].long()), rows.value[used], accumulate=True)
    return x @ dense.T + rows.bias


def _sizes(layer: Tensor) -> tuple[int, int, int]:
    if as_bytes(layer).numel() >= _HEADER.size:
        magic, n, k, count = _HEADER.unpack(layer[: _HEADER.size].numpy().tobytes())
        if magic == _MAGIC and n > 0 and k > 0 and count >= 0 and layer.numel() == 64 + 4 * (2 * n + 1 + 2 * count):
            return n, k, count
    raise ValueError("these bytes are not a sparse layer (header or length is wrong); make them with pack_sparse")


portable_sparse_linear = portable.real_op(sparse_reference, unpack_sparse)
_kernel = ops.native.real_op(library.qk_sparse, lambda layer: (unpack_sparse(layer).outputs, _sizes(layer)[1])) if library else portable_sparse_linear
sparse_linear = ops.register("sparse_linear(Tensor x, Tensor layer, SymInt out_features) -> Tensor", _kernel, ops.check_float,
                             ops.linear_shape(None))
