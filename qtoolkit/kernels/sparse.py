"""Linear layers with sparse real weights in compressed rows (CSR): torch.ops.qtoolkit.sparse_linear.

`x` is real, (..., K); the result is (..., N) in the dtype of x. In memory the matrix lies in tiles of up to 256 outputs x 128 inputs, whose
rows are sorted by length and interleaved 16 by 16 (csrc/sparse.h tells why): 5 bytes a weight, where plain compressed rows
take 8. One row of x gathers its inputs; from 8 rows on, one index serves up to 64 of them. Sums of real numbers: their last bits may
differ between machines.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import as_bytes, header_bytes

_MAGIC = 0x32534B51
_HEADER = struct.Struct("<4i48x")
_SLICE = 16  # rows side by side


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


@dataclass(frozen=True)
class _Tiles:
    """How a matrix (N, K) is cut: `windows` x `blocks` tiles of `window` outputs x `block` inputs."""

    outputs: int
    inputs: int

    @property
    def window(self) -> int:
        return self._each(self.outputs, 256)

    @property
    def block(self) -> int:
        return self._each(self.inputs, 128)

    @property
    def windows(self) -> int:
        return -(-self.outputs // 256)

    @property
    def blocks(self) -> int:
        return -(-self.inputs // 128)

    @property
    def count(self) -> int:
        return self.windows * self.blocks

    @staticmethod
    def _each(size: int, most: int) -> int:
        return -(-size // -(-size // most) // _SLICE) * _SLICE

    def nbytes(self, count: int) -> int:
        slices = self.count * self.window // _SLICE
        return _HEADER.size + 4 * (self.windows * self.window + self.count + 1 + count) + (1 + _SLICE) * slices + count


def pack_sparse(weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The bytes of a layer from its dense weight (N, K): only values that are not 0 are stored, 5 bytes each and a few for their tile.

    Source: Han, Mao and Dally 2016, section 2 (compressed rows); Kreutzer et al. 2014 (slices of sorted rows). Raises ValueError for
    what does not fit.

    >>> generator = torch.Generator().manual_seed(0)
    >>> weight = torch.randn(512, 512, generator=generator) * (torch.rand(512, 512, generator=generator) < 0.1)
    >>> layer, kept = pack_sparse(weight), int(weight.count_nonzero())
    >>> round(layer.numel() / kept, 1), round(len(unpack_sparse(layer).value) / kept)
    (5.4, 1)
    """
    if weight.dim() != 2 or weight.numel() == 0 or not weight.is_floating_point() or not weight.isfinite().all():
        raise ValueError(f"weight is {weight.dtype} of shape {tuple(weight.shape)}, expected finite reals (outputs, inputs), not empty")
    weight = weight.detach().float()
    n, k = weight.shape
    bias = torch.zeros(n) if bias is None else bias.detach().float()
    if bias.shape != (n,) or not bias.isfinite().all():
        raise ValueError(f"bias has shape {tuple(bias.shape)}, expected ({n},) finite values")
    cut = _Tiles(n, k)
    row, column = weight.nonzero(as_tuple=True)
    block = column // cut.block
    run = row * cut.blocks + block  # the weights of a row in a tile; `nonzero` goes row by row, so they are neighbors
    lengths = torch.bincount(run, minlength=cut.count * cut.window)
    rank = torch.arange(len(run)) - _starts(lengths)[run]
    lengths = lengths.view(cut.windows, cut.window, cut.blocks).transpose(1, 2).reshape(cut.count, cut.window)
    order = lengths.argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1) + cut.window * torch.arange(cut.count)[:, None]  # where each row of a tile went, among those of all tiles
    height = lengths.gather(1, order).view(-1, _SLICE)[:, 0]  # of each slice: its first row is the longest
    first = _starts(_SLICE * height)
    count = int(first[-1])
    at = place[row // cut.window * cut.blocks + block, row % cut.window]
    slot = first[at // _SLICE] + _SLICE * rank + at % _SLICE
    value, index = torch.zeros(count), torch.zeros(count, dtype=torch.uint8)
    value[slot], index[slot] = weight[row, column], (column % cut.block).to(torch.uint8)
    start = first[:: cut.window // _SLICE].to(torch.int32)
    padded = torch.nn.functional.pad(bias, (0, cut.windows * cut.window - n))
    parts = (padded, start, value, height.to(torch.uint8), order.to(torch.uint8), index)
    return torch.cat([header_bytes(_HEADER.pack(_MAGIC, n, k, count)), *(part.contiguous().view(torch.uint8).flatten() for part in parts)])


def _starts(sizes: Tensor) -> Tensor:
    """Where parts of these sizes begin, and where the last one ends."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def unpack_sparse(layer: Tensor) -> SparseRows:
    """Undo `pack_sparse` (as rows). Raises ValueError if the bytes are not such a layer."""
    n, k, count = _sizes(layer)
    cut = _Tiles(n, k)
    slices = cut.window // _SLICE
    words = cut.windows * cut.window + cut.count + 1 + count
    bias, start, value = layer[64 : 64 + 4 * words].clone().view(torch.float32).split([cut.windows * cut.window, cut.count + 1, count])
    height, order, index = layer[64 + 4 * words :].split([cut.count * slices, cut.count * cut.window, count])
    start, height, order, index = start.view(torch.int32).long(), height.long(), order.view(-1, cut.window).long(), index.long()
    if start[0] != 0 or start[-1] > count or not torch.equal(start.diff(), _SLICE * height.view(-1, slices).sum(1)):
        raise ValueError("the slices of the sparse layer do not fill its tiles; the bytes are damaged")
    if not torch.equal(order.sort(dim=1).values, torch.arange(cut.window).expand_as(order)):
        raise ValueError("a tile of the sparse layer does not have each of its outputs once; the bytes are damaged")
    of_slice = torch.repeat_interleave(torch.arange(len(height)), _SLICE * height)
    tile, lane = of_slice // slices, torch.arange(len(of_slice)) % _SLICE
    row = tile // cut.blocks * cut.window + order.flatten()[of_slice * _SLICE + lane]
    column = tile % cut.blocks * cut.block + index[: len(tile)]
    if (index[: len(tile)] >= cut.block).any() or (column >= k).any():
        raise ValueError(f"indices of the sparse layer lead outside its {k} inputs; the bytes are damaged")
    stored = value[: len(tile)] != 0
    if (row[stored] >= n).any():
        raise ValueError(f"rows of the sparse layer lie outside its {n} outputs; the bytes are damaged")
    row, column, value = row[stored], column[stored], value[: len(tile)][stored]
    sort = (row * k + column).argsort(stable=True)
    rows = _starts(torch.bincount(row, minlength=n)).to(torch.int32)
    return SparseRows(rows, column[sort].to(torch.int32), value[sort], bias[:n], k)


def sparse_reference(x: Tensor, rows: SparseRows) -> Tensor:
    """The definition: scatter the values into a dense matrix and multiply."""
    dense = torch.zeros(rows.outputs, rows.inputs)
    output = torch.repeat_interleave(torch.arange(rows.outputs), rows.start.diff().long())
    dense.index_put_((output, rows.index.long()), rows.value, accumulate=True)
    return x @ dense.T + rows.bias


def _sizes(layer: Tensor) -> tuple[int, int, int]:
    if as_bytes(layer).numel() >= _HEADER.size:
        magic, n, k, count = _HEADER.unpack(layer[: _HEADER.size].numpy().tobytes())
        if magic == _MAGIC and n > 0 and k > 0 and count >= 0 and layer.numel() == _Tiles(n, k).nbytes(count):
            return n, k, count
    raise ValueError("these bytes are not a sparse layer (header or length is wrong); make them with pack_sparse")


portable_sparse_linear = portable.real_op(sparse_reference, unpack_sparse)
_kernel = ops.native.real_op(library.qk_sparse, lambda layer: (unpack_sparse(layer).outputs, _sizes(layer)[1])) if library else portable_sparse_linear
sparse_linear = ops.register("sparse_linear(Tensor x, Tensor layer, SymInt out_features) -> Tensor", _kernel, ops.check_float,
                             ops.linear_shape(None))
