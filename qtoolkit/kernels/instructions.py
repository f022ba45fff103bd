"""What the processor's byte instructions compute, written in torch: for reading and checking, not for speed.

x86 multiplies *unsigned* bytes u (0..255) by *signed* bytes s (-128..127). Registers appear as tensors whose last axis is the
register; axes in front of it are registers side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor

LANES = 16  # int32 sums in a register of 512 bits


def vpdpbusd(sums: Tensor, u: Tensor, s: Tensor) -> Tensor:
    """One step of VNNI: sums_j + u_4j s_4j + u_4j+1 s_4j+1 + u_4j+2 s_4j+2 + u_4j+3 s_4j+3, all in 32 bits.

    sums: (..., L) int32; u: (..., 4L) uint8; s: (..., 4L) int8. No partial sum saturates: four products of at most
    255 * 128 need 18 bits. Only the running sum can wrap, as int32 does. Raises TypeError for other dtypes.
    Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VPDPBUSD.
    See: book/chapters/12-inside-a-kernel.ipynb#one-instruction-sixty-four-multiplications

    >>> vpdpbusd(torch.tensor([10], dtype=torch.int32), torch.tensor([1, 2, 3, 255], dtype=torch.uint8),
    ...          torch.tensor([1, 1, -1, 127], dtype=torch.int8))
    tensor([32395], dtype=torch.int32)
    """
    _check(u, s)
    products = u.to(torch.int32) * s.to(torch.int32)
    return sums + products.unflatten(-1, (-1, 4)).sum(-1, dtype=torch.int32)


def vpmaddubsw(u: Tensor, s: Tensor) -> Tensor:
    """The step before VNNI: pairs u_2i s_2i + u_2i+1 s_2i+1, *saturated* to 16 bits.

    u: (..., 2L) uint8; s: (..., 2L) int8; returns (..., L) int16. Two products reach 2 * 255 * 127 = 64,770, and int16 ends
    at 32,767: what lies beyond is cut off without a word. Raises TypeError for other dtypes.
    Source: as `vpdpbusd`, VPMADDUBSW.
    See: book/chapters/12-inside-a-kernel.ipynb#the-pair-that-saturates

    >>> vpmaddubsw(torch.tensor([255, 255, 1, 2], dtype=torch.uint8), torch.tensor([127, 127, 3, 4], dtype=torch.int8))
    tensor([32767,    11], dtype=torch.int16)
    """
    _check(u, s)
    pairs = (u.to(torch.int32) * s.to(torch.int32)).unflatten(-1, (-1, 2)).sum(-1)
    return pairs.clamp(-(2**15), 2**15 - 1).to(torch.int16)


def three_step_dot(sums: Tensor, u: Tensor, s: Tensor) -> Tensor:
    """What machines without VNNI do instead of `vpdpbusd`: multiply and add pairs (saturating), add pairs of pairs, add to the sums.

    Shapes as in `vpdpbusd`. Equal to it as long as no pair leaves int16.
    See: book/chapters/12-inside-a-kernel.ipynb#the-pair-that-saturates

    >>> three_step_dot(torch.zeros(1, dtype=torch.int32), torch.full((4,), 255, dtype=torch.uint8), torch.full((4,), 127, dtype=torch.int8))
    tensor([65534], dtype=torch.int32)
    """
    return sums + vpmaddubsw(u, s).to(torch.int32).unflatten(-1, (-1, 2)).sum(-1, dtype=torch.int32)


def tdpbusd(sums: Tensor, u: Tensor, s: Tensor) -> Tensor:
    """One step of a matrix unit (AMX): sums_mn + sum over k of u_mk s_kn, for a whole tile.

    sums: (M, 16) int32; u: (M, 4 R) uint8, up to 16 rows of 64 inputs; s: (R, 64) int8, R packed rows of weights, each with 4 inputs of
    16 outputs. It is `vpdpbusd` for every row m and every packed row. Raises TypeError for other dtypes.
    Source: as `vpdpbusd`, TDPBUSD.
    See: book/chapters/12-inside-a-kernel.ipynb#a-tile-in-one-instruction

    >>> tdpbusd(torch.zeros(2, 16, dtype=torch.int32), torch.tensor([[1, 2, 3, 4], [0, 0, 0, 1]], dtype=torch.uint8),
    ...         torch.ones(1, 64, dtype=torch.int8))[:, 0]
    tensor([10,  1], dtype=torch.int32)
    """
    for r in range(len(s)):
        four = u[:, 4 * r : 4 * r + 4]
        sums = vpdpbusd(sums, four.repeat(1, LANES), s[r])
    return sums


def packed_product(x: Tensor, packed: Tensor, outputs: int) -> Tensor:
    """sum_k (q_x + 128) q_w by walking packed weights one `vpdpbusd` at a time, as the compiled tile does.

    x: (M, K) int8; packed: the bytes of `layer.pack_weight`; returns (M, outputs) int32. Subtract 128 times the sum of an
    output's weights to get sum q_x q_w.
    See: book/chapters/12-inside-a-kernel.ipynb#the-packed-layout

    >>> from qtoolkit.kernels.layer import pack_weight
    >>> packed_product(torch.tensor([[-128, -127]], dtype=torch.int8), pack_weight(torch.tensor([[5, 7]], dtype=torch.int8)), 1)
    tensor([[7]], dtype=torch.int32)
    """
    u = torch.nn.functional.pad(x.to(torch.int32) + 128, (0, -x.shape[1] % 4)).to(torch.uint8)
    steps = u.shape[1] // 4
    blocks = packed.view(torch.int8).reshape(-1, steps, 4 * LANES)
    sums = torch.zeros(len(x), len(blocks), LANES, dtype=torch.int32)
    for step in range(steps):
        four = u[:, None, 4 * step : 4 * step + 4]
        sums = vpdpbusd(sums, four.repeat(1, 1, LANES), blocks[:, step])
    return sums.flatten(1)[:, :outputs]


def _check(u: Tensor, s: Tensor) -> None:
    if u.dtype is not torch.uint8 or s.dtype is not torch.int8:
        raise TypeError(f"given {u.dtype} and {s.dtype}, expected uint8 first and int8 second: the instruction takes no other pair")
