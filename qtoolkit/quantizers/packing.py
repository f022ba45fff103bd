"""Codes of 1 to 16 bits, stored without a wasted bit."""

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks

_CHUNK = 1 << 20  # codes unpacked at a time; a multiple of 8, so every chunk starts on a byte


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits occupy: ceil(count * bits / 8).

    Raises TypeError or ValueError for a negative count or bits outside 1..16.

    >>> packed_size(10, 3)
    4
    """
    return (_checks.positive_int(count, "count", smallest=0) * _checks.bit_width(bits) + 7) // 8


def pack(codes: Tensor, bits: int) -> Tensor:
    """Write `codes` one after another, `bits` bits each, least significant bit first.

    Bit j of code i lands in bit (i*bits + j) mod 8 of byte (i*bits + j) div 8. A negative code is written in two's
    complement. The last byte is filled up with zeros. Returns a 1-D uint8 tensor of `packed_size(count, bits)` bytes.
    Raises TypeError for real codes, ValueError for bits outside 1..16 or a code that needs more bits.

    >>> pack(torch.tensor([1, 2, 3]), bits=4)
    tensor([33,  3], dtype=torch.uint8)
    """
    _checks.bit_width(bits)
    codes = _checks.code_tensor(codes).reshape(-1)
    if codes.numel():
        _check_fit(codes.min().item(), codes.max().item(), bits)
    return torch.cat([_pack_chunk(chunk.to(torch.int32), bits) for chunk in codes.split(_CHUNK)])


def _check_fit(lowest: int, highest: int, bits: int) -> None:
    signed = lowest < 0
    if lowest < -(2 ** (bits - 1)) or highest >= 2 ** (bits - signed):
        raise ValueError(f"codes span {lowest}..{highest}, which {bits} bits cannot hold")


def _pack_chunk(codes: Tensor, bits: int) -> Tensor:
    stream = (codes[:, None] >> torch.arange(bits, dtype=torch.int32)) & 1
    stream = torch.nn.functional.pad(stream.reshape(-1).to(torch.uint8), (0, -codes.numel() * bits % 8))
    return (stream.reshape(-1, 8) << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, bits: int, count: int, signed: bool = False) -> Tensor:
    """Read `count` codes of `bits` bits back from what `pack` wrote; `signed` codes are read as two's complement.

    Returns a 1-D int32 tensor. Raises TypeError if `packed` is not uint8, ValueError if its length is not
    `packed_size(count, bits)`.

    >>> unpack(pack(torch.tensor([-4, 3, 0]), bits=3), bits=3, count=3, signed=True)
    tensor([-4,  3,  0], dtype=torch.int32)
    """
    _checks.bit_width(bits)
    if not isinstance(packed, Tensor) or packed.dtype != torch.uint8:
        raise TypeError(f"packed is {getattr(packed, 'dtype', type(packed).__name__)}, expected a torch.uint8 tensor from pack()")
    if packed.dim() != 1 or packed.numel() != packed_size(count, bits):
        raise ValueError(f"packed has shape {tuple(packed.shape)}, expected ({packed_size(count, bits)},) "
                         f"for {count} codes of {bits} bits")
    step = _CHUNK // 8 * bits
    chunks = [_unpack_chunk(chunk, bits) for chunk in packed.split(step)]
    codes = torch.cat(chunks)[:count]
    return codes - ((codes >> (bits - 1)) << bits) if signed else codes


def _unpack_chunk(packed: Tensor, bits: int) -> Tensor:
    stream = ((packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).reshape(-1)
    stream = stream[: stream.numel() // bits * bits].reshape(-1, bits).to(torch.int32)
    return (stream << torch.arange(bits, dtype=torch.int32)).sum(1, dtype=torch.int32)
