"""Huffman coding at the speed of the machine: torch.ops.qtoolkit.huffman_decode and huffman_encode.

The stream's layout and its readable numpy implementation, which is the reference and the fallback, are in
qtoolkit/compression/huffman.py. A damaged stream raises ValueError; no byte outside of it is ever read.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from qtoolkit.kernels._lib import library
from qtoolkit.kernels.ops import register

_LANE, _BAD_CODE = 4096, 1


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
    return MemoryError("no memory for the tables") if status == 4 else ValueError(f"not a valid Huffman stream: {otherwise}")


def _portable_decode(stream: Tensor, lengths: Tensor, count: int) -> Tensor:
    from qtoolkit.compression import huffman

    symbols = huffman.decode(stream.numpy().tobytes(), huffman.HuffmanCode(lengths.numpy()), count)
    return torch.from_numpy(symbols.astype("int16"))


def _portable_encode(symbols: Tensor, lengths: Tensor) -> Tensor:
    from qtoolkit.compression import huffman

    return torch.frombuffer(bytearray(huffman.encode(symbols.numpy(), huffman.HuffmanCode(lengths.numpy()))) or bytearray(1),
                            dtype=torch.uint8)[: None if symbols.numel() else 0].clone()


def _decode_shape(stream: Tensor, lengths: Tensor, count: int) -> Tensor:
    return stream.new_empty(count, dtype=torch.int16)


def _encode_shape(symbols: Tensor, lengths: Tensor) -> Tensor:
    return symbols.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.uint8)


huffman_decode = register("huffman_decode(Tensor stream, Tensor lengths, SymInt count) -> Tensor", _decode, _check_decode, _decode_shape)
huffman_encode = register("huffman_encode(Tensor symbols, Tensor lengths) -> Tensor", _encode, _check_encode, _encode_shape)
