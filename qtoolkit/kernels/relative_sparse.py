"""Linear layers kept as Deep Compression stores them: torch.ops.qtoolkit.relative_sparse_linear.

Each weight that is not zero takes 2 bytes: how many zeros lie between it and the one before in its row (more than 255 are
bridged by *fillers*, 255 zeros and then a weight of 0), and its index into 256 shared values. `x` is real, (..., K); the result
is (..., N) in the dtype of x. Sums of real numbers: their last bits may differ between machines.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import as_bytes, header_bytes

_MAGIC, ENTRIES = 0x31524B51, 256
_PART = 1 << 18             # weights packed together, so that packing a large layer needs little memory
_HEADER = struct.Struct("<4i48x")


@dataclass(frozen=True)
class RelativeRows:
    """What the bytes say, by the entry: start (N + 1,) int32, place (count,) int64 in 0..K-1, code (count,) uint8 (0: a filler).

    codebook (256,) float32 with codebook[0] = 0, bias (N,) float32, inputs K.
    """

    start: Tensor
    place: Tensor
    code: Tensor
    codebook: Tensor
    bias: Tensor
    inputs: int

    @property
    def outputs(self) -> int:
        """N."""
        return self.bias.numel()

    def codes(self) -> Tensor:
        """The matrix of codes (N, K) uint8; the weight is codebook[codes]."""
        codes = torch.zeros(self.outputs, self.inputs, dtype=torch.uint8)
        codes[torch.repeat_interleave(torch.arange(self.outputs), self.start.diff().long()), self.place] = self.code
        return codes


def pack_relative_sparse(codes: Tensor, codebook: Tensor, bias: Tensor | None = None) -> Tensor:
    """The bytes of a layer from its codes (N, K), integers of which 0 means pruned, and their values, codebook[0] = 0.

    Source: Han, Mao and Dally 2016, section 2, figure 2 (gaps with filler zeros), and section 3 (shared values). Raises
    ValueError for what does not fit.

    >>> codes = torch.tensor([[0, 2, 0, 1], [0, 0, 0, 0]])
    >>> pack_relative_sparse(codes, torch.tensor([0.0, -1.5, 0.5])).numel()    # 64 + 1024 + 2 biases + 3 starts + 2 weights
    1112
    """
    if codes.dim() != 2 or codes.numel() == 0 or codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"codes are {codes.dtype} of shape {tuple(codes.shape)}, expected integers (outputs, inputs), not empty")
    flat = codes.reshape(-1)
    place = torch.nonzero(flat).flatten()
    return pack_places(place, flat[place], codebook, tuple(codes.shape), bias)


def pack_places(place: Tensor, code: Tensor, codebook: Tensor, shape: tuple[int, int], bias: Tensor | None = None) -> Tensor:
    """`pack_relative_sparse` from the weights that are not zero alone: their flat places (count,), increasing, and codes (count,).

    Nothing of the size of the matrix is made. shape: (N, K).

    >>> ones = torch.tensor([1, 1])
    >>> unpack_relative_sparse(pack_places(torch.tensor([5, 1023]), ones, torch.tensor([0.0, 2.0]), (2, 512))).place    # one filler
    tensor([  5, 255, 511])
    """
    n, k = shape
    bias = torch.zeros(n) if bias is None else bias.detach().float()
    _check_parts(place, code, codebook, shape, bias)
    gaps, codes, entries, before = [], [], torch.zeros(n + 1, dtype=torch.int64), -1
    for part, its_code in zip(place.split(_PART), code.split(_PART)):
        for made, to in zip(_entries(part.long(), its_code, k, before, entries), (gaps, codes)):
            to.append(made)
        before = int(part[-1]) if part.numel() else -1
    book = torch.zeros(ENTRIES)
    book[: codebook.numel()] = codebook.detach()
    start = entries.cumsum(0).to(torch.int32)
    header = header_bytes(_HEADER.pack(_MAGIC, n, k, int(start[-1])))
    return torch.cat([header, *(part.contiguous().view(torch.uint8) for part in (book, bias, start)), *gaps, *codes])


def _entries(place: Tensor, code: Tensor, k: int, before: int, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Gaps and codes of some neighboring weights, fillers included; `before` is the place ahead of them. Counts them by row in `entries`."""
    row = place // k
    previous = torch.cat([place.new_tensor([before]), place[:-1]])
    skipped = place - torch.maximum(previous, row * k - 1) - 1
    fillers = skipped >> 8
    entry = (fillers + 1).cumsum(0) - 1
    gaps = torch.full((int(fillers.sum()) + place.numel(),), 255, dtype=torch.uint8)
    gaps[entry] = (skipped & 255).to(torch.uint8)
    codes = torch.zeros_like(gaps)
    codes[entry] = code.to(torch.uint8)
    entries.scatter_add_(0, row + 1, fillers + 1)
    return gaps, codes


def _check_parts(place: Tensor, code: Tensor, codebook: Tensor, shape: tuple[int, int], bias: Tensor) -> None:
    n, k = shape
    if not (0 < n <= 1 << 24 and 0 < k <= 1 << 24 and bias.shape == (n,) and bias.isfinite().all()):
        raise ValueError(f"the layer is {n} x {k} with a bias of shape {tuple(bias.shape)}, expected 1 to 2^24 each way and ({n},) finite values")
    if codebook.dim() != 1 or not 1 <= codebook.numel() <= ENTRIES or codebook[0] != 0 or not codebook.isfinite().all():
        raise ValueError(f"codebook has shape {tuple(codebook.shape)}, expected 1 to {ENTRIES} finite values, the first of them 0")
    if place.shape != code.shape or place.dim() != 1 or (place.numel() and (place[0] < 0 or place[-1] >= n * k or (place.diff() < 1).any())):
        raise ValueError(f"{place.numel()} places and {code.numel()} codes, expected as many of both and places that increase within 0..{n * k - 1}")
    if code.numel() and not 0 < code.min() <= code.max() < codebook.numel():
        raise ValueError(f"codes are {code.min()}..{code.max()}, expected 1..{codebook.numel() - 1}: places in the codebook")


def unpack_relative_sparse(layer: Tensor) -> RelativeRows:
    """Undo the packing (as entries). Raises ValueError if the bytes are not such a layer, or their gaps lead beyond the inputs."""
    n, k, count = _sizes(layer)
    reals, gap, code = layer[_HEADER.size :].clone().split([4 * (ENTRIES + 2 * n + 1), count, count])
    codebook, bias, start = reals.view(torch.float32).split([ENTRIES, n, n + 1])
    start = start.view(torch.int32)
    if codebook[0] != 0 or start[0] < 0 or start[-1] > count or (start.diff() < 0).any():
        raise ValueError("the rows of the relative sparse layer do not follow each other, or its codebook does not start with 0; the bytes are damaged")
    used = slice(int(start[0]), int(start[-1]))
    walked = torch.cat([torch.zeros(1, dtype=torch.int64), (gap[used].long() + 1).cumsum(0)])
    begin = (start - start[0]).long()
    place = walked[1:] - 1 - torch.repeat_interleave(walked[begin[:-1]], start.diff().long())
    if (place >= k).any():
        raise ValueError(f"the gaps of the relative sparse layer lead beyond its {k} inputs; the bytes are damaged")
    return RelativeRows(start - start[0], place, code[used], codebook, bias, k)


def relative_sparse_reference(x: Tensor, rows: RelativeRows) -> Tensor:
    """The definition: y = x codebook[codes]^T + bias, through the dense matrix."""
    return x @ rows.codebook[rows.codes().long()].T + rows.bias


def _sizes(layer: Tensor) -> tuple[int, int, int]:
    if as_bytes(layer).numel() >= _HEADER.size:
        magic, n, k, count = _HEADER.unpack(layer[: _HEADER.size].numpy().tobytes())
        fits = 0 < n <= 1 << 24 and 0 < k <= 1 << 24 and count >= 0
        if magic == _MAGIC and fits and layer.numel() == 64 + 4 * (ENTRIES + 2 * n + 1) + 2 * count:
            return n, k, count
    raise ValueError("these bytes are not a relative sparse layer (header or length is wrong); make them with pack_relative_sparse")


def _linear_sizes(layer: Tensor) -> tuple[int, int]:
    rows = unpack_relative_sparse(layer)
    return rows.outputs, rows.inputs


portable_relative_sparse_linear = portable.real_op(relative_sparse_reference, unpack_relative_sparse)
_kernel = ops.native.real_op(library.qk_relative_sparse, _linear_sizes) if library else portable_relative_sparse_linear
relative_sparse_linear = ops.register("relative_sparse_linear(Tensor x, Tensor layer, SymInt out_features) -> Tensor", _kernel, ops.check_float,
                                      ops.linear_shape(None))
