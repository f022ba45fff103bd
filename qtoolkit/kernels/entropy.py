"""Entropy coding at the speed of the machine: torch.ops.qtoolkit.huffman_decode, huffman_encode, context_decode, context_encode.

The layouts of the streams and their readable implementations, which are the reference and the fallback, are in
qtoolkit/compression: huffman.py; arithmetic.py and context.py. A damaged stream raises ValueError; no byte outside of it is read.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from qtoolkit.kernels._lib import library
from qtoolkit.kernels.ops import register

_LANE, _BAD_CODE, _TOO_LARGE, _NO_MEMORY = 4096, 1, 2, 4


def _check_lengths(lengths: Tensor) -> None:
    if lengths.dtype is not torch.uint8 or lengths.dim() != 1 or not lengths.is_contiguous():
        raise ValueError(f"lengths are {lengths.dtype} of shape {tuple(lengths.shape)}, expected contiguous 1-D uint8 codeword lengths")


def _check_decode(stream: Tensor, lengths: Tensor, count: int) -> None:
    if stream.dtype is not torch.uint8 or stream.dim() != 1:
        raise ValueError(f"stream is {stream.dtype} of shape {tuple(stream.shape)}, expected 1-D uint8 bytes")
    _check_lengths(lengths)
    if not 0 <= count <= 8 * stream.numel():
        raise ValueError(f"{stream.numel()} bytes cannot hold {count} symbols; the data are damaged or cut short")


def _check_encode(symbols: Tensor, lengths: Tensor) -> None:
    if symbols.dtype is not torch.int16 or symbols.dim() != 1:
        raise ValueError(f"symbols are {symbols.dtype} of shape {tuple(symbols.shape)}, expected 1-D int16")
    _check_lengths(lengths)


def _decode(stream: Tensor, lengths: Tensor, count: int) -> Tensor:
    if library is None:
        return _portable_decode(stream, lengths, count)
    stream, out = stream.contiguous(), torch.empty(count, dtype=torch.int16)
    status = library.qk_huffman_decode(stream.data_ptr(), stream.numel(), lengths.data_ptr(), lengths.numel(), count, out.data_ptr(),
                                       torch.get_num_threads())
    if status:
        raise _error(status, "the data are damaged or cut short")
    return out


def _encode(symbols: Tensor, lengths: Tensor) -> Tensor:
    if library is None:
        return _portable_encode(symbols, lengths)
    symbols, count = symbols.contiguous(), symbols.numel()
    lanes = -(-count // _LANE)
    out = torch.empty(3 * lanes + (count * 15 + 7) // 8 + 8, dtype=torch.uint8)
    written = ctypes.c_int64()
    status = library.qk_huffman_encode(symbols.data_ptr(), count, lengths.data_ptr(), lengths.numel(), out.data_ptr(), out.numel(),
                                       ctypes.addressof(written))
    if status:
        raise _error(status, "a symbol has no codeword; fit the code on the symbols' frequencies")
    return out[: written.value].clone()


def _error(status: int, otherwise: str) -> Exception:
    if status == _BAD_CODE:
        return ValueError("lengths are not a complete prefix code (2^-length must sum to 1, lengths up to 15) or a lone symbol of length 1")
    return MemoryError("no memory for the tables") if status == _NO_MEMORY else ValueError(f"not a valid Huffman stream: {otherwise}")


def _portable_decode(stream: Tensor, lengths: Tensor, count: int) -> Tensor:
    from qtoolkit.compression import huffman

    symbols = huffman.decode(stream.numpy().tobytes(), huffman.HuffmanCode(lengths.numpy()), count)
    return torch.from_numpy(symbols.astype("int16"))


def _portable_encode(symbols: Tensor, lengths: Tensor) -> Tensor:
    from qtoolkit.compression import huffman

    return _bytes(huffman.encode(symbols.numpy(), huffman.HuffmanCode(lengths.numpy())))


def _decode_shape(stream: Tensor, lengths: Tensor, count: int) -> Tensor:
    return stream.new_empty(count, dtype=torch.int16)


def _encode_shape(symbols: Tensor, lengths: Tensor) -> Tensor:
    return symbols.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.uint8)


huffman_decode = register("huffman_decode(Tensor stream, Tensor lengths, SymInt count) -> Tensor", _decode, _check_decode, _decode_shape)
huffman_encode = register("huffman_encode(Tensor symbols, Tensor lengths) -> Tensor", _encode, _check_encode, _encode_shape)


def _check_context(rows: int, columns: int, width: int, neighbor: int) -> None:
    if min(rows, columns, neighbor) < 0 or rows * columns > 1 << 24:
        raise ValueError(f"a layer of {rows} x {columns} weights is too large to code by context, expected at most {1 << 24}")
    if not 1 <= width <= 16:
        raise ValueError(f"width is {width}, expected the 1 to 16 bits of a code")


def _check_context_encode(codes: Tensor, width: int, neighbor: int) -> None:
    if codes.dtype is not torch.int32 or codes.dim() != 2:
        raise ValueError(f"codes are {codes.dtype} of shape {tuple(codes.shape)}, expected int32 of shape (rows, columns)")
    _check_context(*codes.shape, width, neighbor)


def _check_context_decode(stream: Tensor, rows: int, columns: int, width: int, neighbor: int) -> None:
    if stream.dtype is not torch.uint8 or stream.dim() != 1:
        raise ValueError(f"stream is {stream.dtype} of shape {tuple(stream.shape)}, expected 1-D uint8 bytes")
    _check_context(rows, columns, width, neighbor)


def _context_encode(codes: Tensor, width: int, neighbor: int) -> Tensor:
    codes = codes.contiguous()
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < 1 << width:
        raise ValueError(f"codes reach from {int(codes.min())} to {int(codes.max())}, expected codes of {width} bits, 0..{(1 << width) - 1}")
    if library is None:
        return _bytes(_portable_context().encode_portably(codes, width, neighbor))
    capacity, written = codes.numel() // 4 + 64, ctypes.c_int64()  # a guess; pruned layers need less
    while True:
        out = torch.empty(capacity, dtype=torch.uint8)
        status = library.qk_context_encode(codes.data_ptr(), *codes.shape, width, neighbor, _squash().data_ptr(), out.data_ptr(), capacity,
                                           ctypes.addressof(written))
        if status:
            raise _context_error(status, "the codes cannot be coded")
        if written.value <= capacity:
            return out[: written.value].clone()
        capacity = written.value


def _context_decode(stream: Tensor, rows: int, columns: int, width: int, neighbor: int) -> Tensor:
    if library is None:
        return _portable_context().decode_portably(stream.numpy().tobytes(), rows, columns, width, neighbor)
    stream, codes = stream.contiguous(), torch.empty(rows, columns, dtype=torch.int32)
    status = library.qk_context_decode(stream.data_ptr(), stream.numel(), rows, columns, width, neighbor, _squash().data_ptr(), codes.data_ptr())
    if status:
        raise _context_error(status, f"the coded stream is not one of {rows} x {columns} codes of {width} bits; it is damaged or cut short")
    return codes


def _context_error(status: int, otherwise: str) -> Exception:
    if status == _NO_MEMORY:
        return MemoryError("no memory for the contexts")
    return ValueError("the codes have more contexts than can be kept; the layer is too large to code by context"
                      if status == _TOO_LARGE else otherwise)


def _portable_context():
    from qtoolkit.compression import context

    return context


@cache
def _squash() -> Tensor:
    from qtoolkit.compression import arithmetic

    return torch.tensor(arithmetic.SQUASH, dtype=torch.int32)


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data) or bytearray(1), dtype=torch.uint8)[: len(data)].clone()


def _context_encode_shape(codes: Tensor, width: int, neighbor: int) -> Tensor:
    return codes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.uint8)


def _context_decode_shape(stream: Tensor, rows: int, columns: int, width: int, neighbor: int) -> Tensor:
    return stream.new_empty((rows, columns), dtype=torch.int32)


context_encode = register("context_encode(Tensor codes, SymInt width, SymInt neighbor) -> Tensor", _context_encode, _check_context_encode,
                          _context_encode_shape)
context_decode = register("context_decode(Tensor stream, SymInt rows, SymInt columns, SymInt width, SymInt neighbor) -> Tensor",
                          _context_decode, _check_context_decode, _context_decode_shape)
