"""What the sections of a compressed file hold: tensors, each in the form that suits it, decoded bit for bit.

    DENSE     any dtype, as it is (float32 may be stored as float16)
    UNIFORM   scale x signed integers of 1 to 16 bits: biases that need no 32 bits
    SHARED    Deep Compression: codebook, relative index, weight codes, both streams Huffman coded

`encode_*` makes a body, `decode` reads any of them. A body names its own shape and dtype. See book/file-format.md.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtoolkit.compression.container import BadFile, Reader, Section, varint
from qtoolkit.compression.huffman import MAX_SYMBOLS, HuffmanCode, decode as huffman_decode, encode as huffman_encode
from qtoolkit.compression.sparse_index import gaps_with_fillers
from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.packing import pack, packed_size, unpack

ARCHITECTURE, DENSE, UNIFORM, SHARED, CONTEXT = 1, 2, 3, 4, 5
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool)
MAX_INDEX_BITS, MAX_CODEBOOK, _MAX_DIMS, _LARGEST_SPAN = 12, MAX_SYMBOLS - 1, 8, 1 << 48
_PACKED, _HUFFMAN = 0, 1


@dataclass
class Budget:
    """Bytes that may still be allocated for decoded tensors; spent before the memory is touched."""

    left: int

    def spend(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        size, span = dtype.itemsize * math.prod(shape), math.prod(max(extent, 1) for extent in shape)
        if size > self.left or span > _LARGEST_SPAN:
            raise BadFile(f"a tensor of shape {shape} needs {size} bytes, the header leaves {self.left}; the file is damaged")
        self.left -= size


@dataclass(frozen=True)
class Shared:
    """A SHARED body, opened: the parts whose sizes the paper's tables print."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    index_bits: int             # 0: no index, every weight has a code
    codebook: Tensor            # (1 + K,), codebook[0] = 0
    gaps: Tensor                # (entries,) int32, 1 .. 2^index_bits; empty without an index
    codes: Tensor               # (entries,) int32; 0 for a filler
    gap_bytes: int = 0
    code_bytes: int = 0

    def dense(self) -> Tensor:
        """The weights: codebook[codes] at the places that the gaps lead to, 0 elsewhere."""
        if self.index_bits == 0:
            return self.codebook[self.codes].reshape(self.shape)
        weight = torch.zeros(self.shape, dtype=self.dtype)
        weight.view(-1)[self.gaps.cumsum(0) - 1] = self.codebook[self.codes]
        return weight


def _header(shape: torch.Size, dtype: torch.dtype) -> bytes:
    if dtype not in DTYPES or len(shape) > _MAX_DIMS:
        raise ValueError(f"tensor is {dtype} with {len(shape)} dimensions, expected one of {DTYPES} with at most {_MAX_DIMS}")
    return bytes([DTYPES.index(dtype), len(shape)]) + b"".join(varint(extent) for extent in shape)


def _read_header(reader: Reader, budget: Budget) -> tuple[tuple[int, ...], torch.dtype]:
    dtype, dims = _read_dtype(reader), reader.u8()
    if dims > _MAX_DIMS:
        raise BadFile(f"{reader.what} has {dims} dimensions, expected at most {_MAX_DIMS}; it is damaged")
    shape = tuple(reader.varint() for _ in range(dims))
    budget.spend(shape, dtype)
    return shape, dtype


def _read_dtype(reader: Reader) -> torch.dtype:
    if (number := reader.u8()) >= len(DTYPES):
        raise BadFile(f"{reader.what} has dtype number {number}, expected less than {len(DTYPES)}; it is damaged")
    return DTYPES[number]


def _raw(tensor: Tensor) -> bytes:
    """Little-endian bytes (the machines that torch runs on store them so)."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _from_raw(data: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def narrowed(tensor: Tensor, stored: torch.dtype) -> Tensor:
    """`tensor` in the dtype it is stored in. Raises ValueError when finite values would become infinite."""
    narrow = tensor.detach().to(stored)
    if tensor.is_floating_point() and not torch.equal(narrow.isfinite(), tensor.isfinite()):
        raise ValueError(f"values reach {float(tensor.abs().max()):g}, too large for {stored}; store them as {tensor.dtype}")
    return narrow


def encode_dense(tensor: Tensor, stored: torch.dtype | None = None) -> bytes:
    """A DENSE body; `stored` narrows what is kept (float16 for a float32 bias), the tensor decodes to its own dtype."""
    stored = stored or tensor.dtype
    return _header(tensor.shape, tensor.dtype) + bytes([DTYPES.index(stored)]) + _raw(narrowed(tensor, stored))


def _decode_dense(reader: Reader, budget: Budget) -> Tensor:
    shape, dtype = _read_header(reader, budget)
    stored = _read_dtype(reader)
    data = reader.take(stored.itemsize * math.prod(shape))
    if stored == torch.bool and max(data, default=0) > 1:
        raise BadFile(f"{reader.what} holds booleans other than 0 and 1; it is damaged")
    return _from_raw(data, stored).to(dtype).reshape(shape)


def uniform_grid(tensor: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and codes of the symmetric grid max|x| / (2^(bits-1) - 1): x ~ scale * codes, rounding half to even."""
    _checks.bit_width(bits, smallest=2)
    tensor = _checks.real_tensor(tensor.detach()).float()
    scale = tensor.abs().max() / (2 ** (bits - 1) - 1)
    return (scale, torch.round(tensor / scale).to(torch.int32)) if scale > 0 else (torch.tensor(1.0), tensor.to(torch.int32))


def encode_uniform(tensor: Tensor, bits: int) -> bytes:
    """A UNIFORM body: float32 scale and `bits`-bit two's complement codes of a real tensor."""
    scale, codes = uniform_grid(tensor, bits)
    return _header(tensor.shape, tensor.dtype) + struct.pack("<Bf", bits, float(scale)) + pack(codes, bits).numpy().tobytes()


def _decode_uniform(reader: Reader, budget: Budget) -> Tensor:
    shape, dtype = _read_header(reader, budget)
    bits, scale = struct.unpack("<Bf", reader.take(5))
    if not 2 <= bits <= 16 or not 0 < scale < float("inf") or not dtype.is_floating_point:
        raise BadFile(f"{reader.what} is {bits}-bit codes of scale {scale} for {dtype}; it is damaged")
    count = math.prod(shape)
    codes = unpack(_from_raw(reader.take(packed_size(count, bits)), torch.uint8), bits, count, signed=True) if count else torch.empty(0)
    return (codes * torch.tensor(scale, dtype=torch.float32)).to(dtype).reshape(shape)


def encode_symbols(symbols: Tensor, bits: int, huffman: bool = True) -> bytes:
    """Symbols 0 .. 2^bits - 1 in the shorter of two forms: packed at `bits` each, or (if allowed) Huffman coded with its table."""
    packed = bytes([_PACKED]) + (pack(symbols, bits).numpy().tobytes() if symbols.numel() else b"")
    if not huffman or not symbols.numel():
        return packed
    symbols = symbols.numpy().astype(np.uint16)
    code = HuffmanCode.fit(np.bincount(symbols))
    stream = huffman_encode(symbols, code)
    table = pack(torch.from_numpy(code.lengths), 4).numpy().tobytes()
    coded = bytes([_HUFFMAN]) + varint(len(code.lengths)) + table + varint(len(stream)) + stream
    return min(packed, coded, key=len)


def decode_symbols(reader: Reader, count: int, bits: int) -> Tensor:
    """What `encode_symbols` wrote: (count,) int32 below 2^bits."""
    if count > 8 * reader.left:
        raise BadFile(f"{reader.what} claims {count} symbols in {reader.left} bytes; it is damaged")
    form = reader.u8()
    if form == _PACKED:
        return unpack(_from_raw(reader.take(packed_size(count, bits)), torch.uint8), bits, count) if count else torch.empty(0, dtype=torch.int32)
    if form != _HUFFMAN or (size := reader.varint()) > 1 << bits:
        raise BadFile(f"{reader.what} has a stream of form {form}, expected {_PACKED} or {_HUFFMAN} with a table of at most 2^{bits} lengths")
    lengths = unpack(_from_raw(reader.take(packed_size(size, 4)), torch.uint8), 4, size).numpy().astype(np.uint8)
    return torch.from_numpy(huffman_decode(reader.take(reader.varint()), HuffmanCode(lengths), count).astype(np.int32))


def encode_shared(codes: Tensor, codebook: Tensor, index_bits: int, stored: torch.dtype | None = None, huffman: bool = True) -> bytes:
    """A SHARED body for a tensor of codes (0 = pruned) and its codebook (codebook[0] = 0).

    `index_bits` 1 to 12 stores gaps with filler zeros; 0 stores a code for every weight instead (dense layers).
    """
    if codebook.numel() > MAX_CODEBOOK + 1 or codebook.numel() < 1 or codebook[0] != 0:
        raise ValueError(f"codebook has {codebook.numel()} entries, expected 1 to {MAX_CODEBOOK + 1}, the first of them 0")
    _checks.bit_width(index_bits, "index_bits", smallest=0, largest=MAX_INDEX_BITS)
    stored, flat = stored or codebook.dtype, _checks.code_tensor(codes).reshape(-1)
    head = _header(codes.shape, codebook.dtype) + bytes([index_bits, DTYPES.index(stored)]) + varint(codebook.numel() - 1) + _raw(narrowed(codebook[1:], stored))
    bits = code_width(codebook.numel())
    if index_bits == 0:
        return head + encode_symbols(flat, bits, huffman)
    gaps, entry = gaps_with_fillers(torch.nonzero(flat).flatten(), index_bits)
    entries = torch.zeros_like(gaps, dtype=torch.int32)
    entries[entry] = flat[flat != 0].to(torch.int32)
    return head + varint(gaps.numel()) + encode_symbols(gaps - 1, index_bits, huffman) + encode_symbols(entries, bits, huffman)


def code_width(codebook_size: int) -> int:
    """Bits of a weight code: enough for the zero and K shared weights.

    >>> code_width(32), code_width(33)
    (5, 6)
    """
    return max(1, (codebook_size - 1).bit_length())


def open_shared(section: Section, budget: Budget) -> Shared:
    """Parse and check a SHARED section without making the dense tensor. Raises BadFile."""
    return _guarded(_open_shared, section, budget)


def _open_shared(reader: Reader, budget: Budget) -> Shared:
    what = reader.what
    shape, dtype = _read_header(reader, budget)
    index_bits, stored, size = reader.u8(), _read_dtype(reader), reader.varint()
    if index_bits > MAX_INDEX_BITS or size > MAX_CODEBOOK or not dtype.is_floating_point or not stored.is_floating_point:
        raise BadFile(f"{what} has {index_bits}-bit gaps and {size} shared weights; it is damaged")
    codebook = torch.cat([torch.zeros(1, dtype=dtype), _from_raw(reader.take(size * stored.itemsize), stored).to(dtype)])
    bits, numel = code_width(size + 1), math.prod(shape)
    count = reader.varint() if index_bits else numel
    before = reader.left
    gaps = decode_symbols(reader, count, index_bits) + 1 if index_bits else torch.empty(0, dtype=torch.int32)
    between = reader.left
    codes = decode_symbols(reader, count, bits)
    if (count and int(codes.max()) > size) or int(gaps.sum()) > numel:
        raise BadFile(f"{what} points outside its codebook or its tensor; it is damaged")
    return Shared(shape, dtype, index_bits, codebook, gaps, codes, before - between, between - reader.left)


def _decode_shared(reader: Reader, budget: Budget) -> Tensor:
    return _open_shared(reader, budget).dense()


_DECODERS = {DENSE: _decode_dense, UNIFORM: _decode_uniform, SHARED: _decode_shared}


def decode(section: Section, budget: Budget) -> Tensor:
    """The tensor of any section that holds one. Raises BadFile for everything else."""
    if section.kind not in _DECODERS:
        raise BadFile(f"section '{section.name}' has type {section.kind}, which this version does not know; a newer qtoolkit may read it")
    return _guarded(_DECODERS[section.kind], section, budget)


def _guarded(parse: Callable, section: Section, budget: Budget):
    """Parse the whole body of a section; whatever a damaged body makes our own functions complain of becomes a BadFile."""
    reader = Reader(section.body, f"section '{section.name}'")
    try:
        result = parse(reader, budget)
    except BadFile:
        raise
    except (ValueError, OverflowError) as error:
        raise BadFile(f"{reader.what}: {error}") from None
    reader.finish()
    return result
