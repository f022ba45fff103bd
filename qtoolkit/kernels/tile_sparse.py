"""int8 linear layers pruned by tiles: torch.ops.qtoolkit.int8_tile_sparse_linear.

A tile is 16 neighboring outputs x 4 neighboring inputs: the 64 bytes that one instruction of the dense product consumes. Tiles that are
all zero are neither stored nor computed; every other one is stored whole, 64 bytes and 2 for its place. Otherwise this is
`int8_linear`: x (..., K) int8, the result (..., N) int8, the same bits as from the dense weight. csrc/tile_sparse.h tells why tiles keep
the speed that single weights lose; `compression.pruning.prune_tiles` makes such weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable, reference
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import LAYER, Header, LayerCodes, as_bytes, pack_layer, read_header, unpack_layer

OUTPUTS, INPUTS = 16, 4     # of a tile
_MAGIC, _MOST_FOURS = 0x31424B51, 1 << 16
_BYTES = OUTPUTS * INPUTS


class Tiles(NamedTuple):
    """What the bytes hold: the layer's header, start (blocks + 1,) and index (tiles,) int64, tile (tiles, 16, 4) int8."""

    header: Header
    start: Tensor
    index: Tensor
    tile: Tensor

    @property
    def fours(self) -> int:
        """Groups of 4 inputs: K / 4, rounded up."""
        return -(-self.header.inputs // INPUTS)

    @property
    def place(self) -> Tensor:
        """(tiles,) int64: where each tile stands among all tiles of the dense layer."""
        blocks = torch.arange(self.start.numel() - 1)
        return torch.repeat_interleave(blocks, self.start.diff()) * self.fours + self.index


def pack_tile_sparse(weight: Tensor, bias: Tensor | None = None, **parts) -> Tensor:
    """The bytes (uint8, 1-D) of a linear layer, of whose weight (N, K) int8 only tiles that are not all zero are stored.

    `bias` and `parts` (input_zero_point, multiplier, shift, zero_point, lowest, highest) are those of `pack_layer`; so are the errors.
    Source: Mao et al. 2017 (coarse-grained sparsity: one index serves many weights).

    >>> weight = torch.zeros(32, 8, dtype=torch.int8)
    >>> weight[20, 5] = 1                              # the second block of outputs, the second four of inputs
    >>> pack_tile_sparse(weight).numel()               # 64 + 6*4*32 + one tile of 64 + 3 starts of 4 + one index of 2
    910
    """
    if isinstance(weight, Tensor) and weight.dim() != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (outputs, inputs)")
    layer = pack_layer(weight, bias, **parts)
    header = read_header(layer, LAYER, "a layer", "pack_layer")
    tiles = layer[header.weight_at :].reshape(header.padded // OUTPUTS, -1, _BYTES)
    block, index = tiles.any(2).nonzero(as_tuple=True)
    start = torch.zeros(len(tiles) + 1, dtype=torch.int32)
    start[1:] = torch.bincount(block, minlength=len(tiles)).cumsum(0)
    new = header._replace(magic=_MAGIC, tiles=index.numel()).pack()
    parts = (tiles[block, index].flatten(), start.view(torch.uint8), index.to(torch.int16).view(torch.uint8))
    return torch.cat([new, layer[new.numel() : header.weight_at], *parts])


def read_tiles(layer: Tensor) -> Tiles:
    """The lists and tiles of the bytes. Raises ValueError if they are not a tile-sparse layer or their lists are damaged."""
    header = read_header(as_bytes(layer), _MAGIC, "a tile-sparse layer", "pack_tile_sparse")
    sizes = [_BYTES * header.tiles, 4 * (header.padded // OUTPUTS + 1), 2 * header.tiles]
    if header.tiles < 0 or header.taps != 1 or header.inputs > INPUTS * _MOST_FOURS or layer.numel() != header.weight_at + sum(sizes):
        raise ValueError("these bytes are not a tile-sparse layer (header or length is wrong); make them with pack_tile_sparse")
    tile, start, index = layer[header.weight_at :].clone().split(sizes)
    start = start.clone().view(torch.int32).long()
    if start[0] != 0 or start[-1] != header.tiles or (start.diff() < 0).any():
        raise ValueError("the blocks of the tile-sparse layer do not follow each other; the bytes are damaged")
    index = index.clone().view(torch.int16).long() & (_MOST_FOURS - 1)
    tiles = Tiles(header, start, index, tile.view(torch.int8).reshape(-1, OUTPUTS, INPUTS))
    if (index >= tiles.fours).any() or (tiles.place.diff() < 1).any():
        raise ValueError(f"the tiles of a block do not increase within its {tiles.fours} fours of inputs; the bytes are damaged")
    return tiles


def dense_layer(layer: Tensor) -> Tensor:
    """The bytes of `pack_layer` for the same layer, its zeros written out.

    >>> weight = torch.ones(3, 5, dtype=torch.int8)
    >>> torch.equal(dense_layer(pack_tile_sparse(weight)), pack_layer(weight))
    True
    """
    tiles = read_tiles(layer)
    header = tiles.header._replace(magic=LAYER, tiles=0)
    weight = torch.zeros(header.weight_bytes // _BYTES, _BYTES, dtype=torch.uint8)
    weight[tiles.place] = tiles.tile.view(torch.uint8).reshape(-1, _BYTES)
    new = header.pack()
    return torch.cat([new, layer[new.numel() : header.weight_at], weight.flatten()])


def unpack_tile_sparse(layer: Tensor) -> LayerCodes:
    """Undo `pack_tile_sparse`, with the weight dense. Raises ValueError if the bytes are not such a layer.

    >>> unpack_tile_sparse(pack_tile_sparse(torch.tensor([[0, 0, 0, 0, -2, 3]], dtype=torch.int8))).weight
    tensor([[ 0,  0,  0,  0, -2,  3]], dtype=torch.int8)
    """
    return unpack_layer(dense_layer(layer))


def tile_sparse_reference(x: Tensor, layer: Tensor) -> Tensor:
    """The definition, tile by tile: a_n = b_n + sum over the tiles t of n's block of sum_i x[4 index_t + i] w_t[n mod 16, i], requantized.

    x: (..., K) int8; returns (..., N) int8.
    """
    tiles, codes = read_tiles(layer), unpack_tile_sparse(layer)
    fours = torch.nn.functional.pad(x.to(torch.int64), (0, -x.shape[-1] % INPUTS)).unflatten(-1, (-1, INPUTS))
    sums = torch.zeros(*x.shape[:-1], tiles.start.numel() - 1, OUTPUTS, dtype=torch.int64)
    for place, index, tile in zip(tiles.place.tolist(), tiles.index.tolist(), tiles.tile.long()):
        sums[..., place // tiles.fours, :] += (fours[..., index, None, :] * tile).sum(-1)
    sums = sums.flatten(-2)[..., : tiles.header.outputs] + codes.bias
    return reference.requantize(sums, codes.multiplier, codes.shift, codes.zero_point, codes.lowest, codes.highest)


def portable_int8_tile_sparse_linear(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    """The operator without a compiler: the dense layer's."""
    outputs, inputs = _sizes(layer)     # compared before the zeros are written out: a damaged header may promise more than any memory holds
    if (x.shape[-1], out_features) != (inputs, outputs):
        raise ValueError(f"x has shape {tuple(x.shape)} and out_features is {out_features}, which does not fit a layer of (outputs, "
                         f"inputs) {(outputs, inputs)}")
    return portable.int8_linear(x, dense_layer(layer), out_features)


def _sizes(layer: Tensor) -> tuple[int, int]:
    header = read_tiles(layer).header
    return header.outputs, header.inputs


def _native(x: Tensor, layer: Tensor, out_features: int) -> Tensor:
    return ops.native.linear(library.qk_tile_sparse, x, layer, out_features, torch.int8, lambda: [_sizes(layer)])


_kernel = _native if library else portable_int8_tile_sparse_linear
int8_tile_sparse_linear = ops.register("int8_tile_sparse_linear(Tensor x, Tensor layer, SymInt out_features) -> Tensor", _kernel,
                                       ops.check_int8, ops.linear_shape(torch.int8))
