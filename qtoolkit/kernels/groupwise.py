"""Linear layers with weights of 4 or 2 bits and a scale for every group of inputs: torch.ops.qtoolkit.groupwise_linear.

    y = s_x sum_g s_g ( sum_{k in g} q_x q_w ) + b        q_w in -8..7 or -2..1, q_x int8, quantized row by row on the way in

Ternary weights are the case of 2 bits with the codes -1, 0, 1. `x` is real, (..., K); the result is (..., N) in the dtype of x.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.kernels import ops, portable, reference
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import as_bytes, header_bytes

_MAGIC = 0x31474B51
_HEADER = struct.Struct("<5i44x")


@dataclass(frozen=True)
class GroupCodes:
    """What the bytes say: weight (N, K) int8 codes, scale (N, groups) float32, bias (N,) float32, bits, group."""

    weight: Tensor
    scale: Tensor
    bias: Tensor
    bits: int
    group: int

    @property
    def outputs(self) -> int:
        """N."""
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        """K."""
        return self.weight.shape[1]


def pack_groupwise(weight: Tensor, scale: Tensor, *, bits: int = 4, group: int = 128, bias: Tensor | None = None) -> Tensor:
    """The bytes (uint8, 1-D) of a layer: weight (N, K) int8 codes, scale (N, ceil(K / group)) real, bias (N,) real.

    Raises TypeError or ValueError for codes outside of the bits, a group that is no multiple of 32 / bits, scales that do not fit.

    >>> pack_groupwise(torch.ones(16, 64, dtype=torch.int8), torch.ones(16, 2), group=32).numel()    # 64 + 64 + 2 * (64 + 256)
    768
    """
    _check(weight, scale, bits, group)
    n, k = weight.shape
    per_step, zero = 32 // bits, 1 << (bits - 1)
    codes = torch.nn.functional.pad(weight + zero, (0, -k % group, 0, -n % 16), value=zero).to(torch.uint8)
    steps = codes.reshape(-1, 16, codes.shape[1] // per_step, 8 // bits, 4)  # block, output, step, part, input
    shifts = (torch.arange(8 // bits) * bits).reshape(-1, 1).to(torch.uint8)
    packed = (steps << shifts).sum(3, dtype=torch.uint8).transpose(1, 2)  # block, step, output, input
    groups = codes.shape[1] // group
    scales = torch.nn.functional.pad(scale.float(), (0, 0, 0, -n % 16)).reshape(-1, 16, groups).transpose(1, 2).contiguous()
    body = torch.cat([scales.view(torch.uint8), packed.reshape(packed.shape[0], groups, -1)], dim=2)
    real = torch.zeros(n) if bias is None else bias.detach().float()
    if real.shape != (n,) or not real.isfinite().all():
        raise ValueError(f"bias has shape {tuple(real.shape)}, expected ({n},) finite values")
    header = header_bytes(_HEADER.pack(_MAGIC, n, k, bits, group))
    return torch.cat([header, torch.nn.functional.pad(real, (0, -n % 16)).view(torch.uint8), body.flatten()])


def unpack_groupwise(layer: Tensor) -> GroupCodes:
    """Undo `pack_groupwise`. Raises ValueError if the bytes are not such a layer."""
    n, k, bits, group, groups = _sizes(layer)
    blocks = -(-n // 16)
    bias = layer[64 : 64 + 64 * blocks].clone().view(torch.float32)[:n]
    body = layer[64 + 64 * blocks :].reshape(blocks, groups, -1)
    scale = body[:, :, :64].contiguous().view(torch.float32).transpose(1, 2).reshape(blocks * 16, groups)[:n]
    packed = body[:, :, 64:].reshape(blocks, -1, 16, 1, 4)  # block, step, output, part, input
    shifts = (torch.arange(8 // bits) * bits).reshape(-1, 1).to(torch.uint8)
    codes = (packed >> shifts & (1 << bits) - 1).transpose(1, 2).reshape(blocks * 16, -1)[:n, :k]
    return GroupCodes(codes.to(torch.int8) - (1 << (bits - 1)), scale, bias, bits, group)


def groupwise_reference(x: Tensor, codes: GroupCodes) -> Tensor:
    """The definition: integers within a group, then float32 in the order of the groups, each step rounded.

    >>> layer = GroupCodes(torch.tensor([[1, -2]]), torch.tensor([[0.5]]), torch.tensor([1.0]), bits=4, group=8)
    >>> groupwise_reference(torch.tensor([[127.0, 0.0]]), layer)
    tensor([[64.5000]])
    """
    q, row_scale = reference.quantize_rows(x)
    total = torch.zeros(*x.shape[:-1], codes.weight.shape[0])
    for group, (inputs, weights) in enumerate(zip(q.split(codes.group, -1), codes.weight.split(codes.group, 1))):
        total = total + reference.int8_sums(inputs, weights, 0).to(torch.float32) * codes.scale[:, group]
    return total * row_scale + codes.bias


def _sizes(layer: Tensor) -> tuple[int, int, int, int, int]:
    """(N, K, bits, group, groups) from the header, checked against the length."""
    if as_bytes(layer).numel() >= _HEADER.size:
        magic, n, k, bits, group = _HEADER.unpack(layer[: _HEADER.size].numpy().tobytes())
        if magic == _MAGIC and n > 0 and k > 0 and bits in (2, 4) and group > 0 and group % (32 // bits) == 0:
            groups = -(-k // group)
            if layer.numel() == 64 + -(-n // 16) * (64 + groups * (64 + 2 * bits * group)):
                return n, k, bits, group, groups
    raise ValueError("these bytes are not a groupwise layer (header or length is wrong); make them with pack_groupwise")


def _check(weight: Tensor, scale: Tensor, bits: int, group: int) -> None:
    if weight.dtype != torch.int8 or weight.dim() != 2 or weight.numel() == 0:
        raise TypeError(f"weight is {weight.dtype} of shape {tuple(weight.shape)}, expected int8 codes (outputs, inputs)")
    if bits not in (2, 4):
        raise ValueError(f"bits is {bits}, expected 4 or 2; for 8 use layer.pack_layer")
    if group < 1 or group % (32 // bits):
        raise ValueError(f"group is {group}, expected a multiple of {32 // bits} for {bits} bits")
    if weight.min() < -(1 << (bits - 1)) or weight.max() >= 1 << (bits - 1):
        raise ValueError(f"weight codes span {weight.min()}..{weight.max()}, expected {-(1 << bits - 1)}..{(1 << bits - 1) - 1} for {bits} bits")
    expected = (weight.shape[0], -(-weight.shape[1] // group))
    if tuple(scale.shape) != expected or not scale.isfinite().all():
        raise ValueError(f"scale has shape {tuple(scale.shape)}, expected {expected}, finite: one value for each output and group")


portable_groupwise_linear = portable.real_op(groupwise_reference, unpack_groupwise)
_kernel = ops.native.real_op(library.qk_groupwise, lambda layer: _sizes(layer)[:2]) if library else portable_groupwise_linear
groupwise_linear = ops.register("groupwise_linear(Tensor x, Tensor layer, SymInt out_features) -> Tensor", _kernel, ops.check_float,
                                ops.linear_shape(None))
