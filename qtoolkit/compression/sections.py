"""What the sections of a compressed file hold: tensors, each in the form that suits it, decoded bit for bit.

    DENSE     any dtype, as it is (float32 may be stored as float16)
    UNIFORM   scale x signed integers of 2 to 16 bits: biases that need no 32 bits
    SHARED    Deep Compression: codebook, relative index, weight codes, both streams Huffman coded
    CONTEXT   codebook, and places and codes in one adaptive arithmetic stream (context.py): smaller and slower

`encode_*` makes a body, `decode` reads any of them. A body names its own shape and dtype. See book/file-format.md.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from qtoolkit.compression.bodies import (DTYPES, Budget, decode_dense, decode_uniform, from_raw, narrowed, raw, read_dtype,
                                         read_tensor_header, tensor_header)
from qtoolkit.compression.container import BadFile, Reader, Section, varint
from qtoolkit.compression.context import decode_codes, encode_codes
from qtoolkit.compression.huffman import MAX_SYMBOLS, HuffmanCode
from qtoolkit.compression.kept import PART, SharedKept
from qtoolkit.compression.sparse_index import FIRST_IN_FILE, gaps_with_fillers
from qtoolkit.kernels.entropy import huffman_decode, huffman_encode
from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.packing import pack, packed_size, unpack

ARCHITECTURE, DENSE, UNIFORM, SHARED, CONTEXT = 1, 2, 3, 4, 5
MAX_INDEX_BITS, MAX_CODEBOOK = 12, MAX_SYMBOLS - 1
_PACKED, _HUFFMAN, _GRID = 0, 1, 255


@dataclass(frozen=True)
class Shared:
    """A SHARED or CONTEXT section, opened: the parts whose sizes the paper's tables print."""

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


def encode_symbols(symbols: Tensor, bits: int, huffman: bool = True) -> bytes:
    """Symbols 0 .. 2^bits - 1 in the shorter of two forms: packed at `bits` each, or (if allowed) Huffman coded with its table."""
    coded = _huffman_form(symbols) if huffman and symbols.numel() else None
    if coded is not None and len(coded) < 1 + packed_size(symbols.numel(), bits):
        return coded
    return bytes([_PACKED]) + (pack(symbols, bits).numpy().tobytes() if symbols.numel() else b"")


def _huffman_form(symbols: Tensor) -> bytes:
    lengths = torch.from_numpy(HuffmanCode.fit(histogram(symbols)).lengths)
    stream = huffman_encode(symbols.to(torch.int16), lengths).numpy().tobytes()
    return bytes([_HUFFMAN]) + varint(lengths.numel()) + pack(lengths, 4).numpy().tobytes() + varint(len(stream)) + stream


def histogram(symbols: Tensor) -> np.ndarray:
    """How often each of the symbols 0, 1, .. up to the largest occurs."""
    size = int(symbols.max()) + 1 if symbols.numel() else 0
    return sum((torch.bincount(part, minlength=size) for part in symbols.split(PART)), torch.zeros(size, dtype=torch.int64)).numpy()


def decode_symbols(reader: Reader, count: int, bits: int) -> Tensor:
    """What `encode_symbols` wrote: (count,) int32 below 2^bits."""
    if count > 8 * reader.left:
        raise BadFile(f"{reader.what} claims {count} symbols in {reader.left} bytes; it is damaged")
    form = reader.u8()
    if form == _PACKED:
        return unpack(from_raw(reader.take(packed_size(count, bits)), torch.uint8), bits, count) if count else torch.empty(0, dtype=torch.int32)
    if form != _HUFFMAN or (size := reader.varint()) > 1 << bits:
        raise BadFile(f"{reader.what} has a stream of form {form}, expected {_PACKED} or {_HUFFMAN} with a table of at most 2^{bits} lengths")
    lengths = unpack(from_raw(reader.take(packed_size(size, 4)), torch.uint8), 4, size).to(torch.uint8)
    HuffmanCode(lengths.numpy())                            # raises unless the lengths make a complete code
    return huffman_decode(from_raw(reader.take(reader.varint()), torch.uint8), lengths, count).to(torch.int32)


def grid_step(codebook: Tensor) -> float | None:
    """The step of a float32 codebook of whole multiples, at most 127 of them each way, exactly; None for any other codebook.

    >>> grid_step(torch.tensor([0.0, -0.5, 0.25, 0.5])), grid_step(torch.tensor([0.0, 0.3, 1.0]))
    (0.25, None)
    """
    values = codebook[1:]
    if values.dtype != torch.float32 or values.numel() < 2 or not values.all() or (values.diff() <= 0).any():
        return None
    step = values.abs().min()
    levels = torch.round(values / step)
    return float(step) if levels.abs().max() <= 127 and torch.equal(levels * step, values) else None


def _write_codebook(codes: Tensor, codebook: Tensor, stored: torch.dtype) -> tuple[bytes, Tensor, int]:
    """Bytes of the codebook, codes that go with it, and its size without the zero. A grid is one step and a level count.

    Codes may be of any shape, with zeros or without: each becomes another code of the same value.
    """
    if codebook.numel() > MAX_CODEBOOK + 1 or codebook.numel() < 1 or codebook[0] != 0:
        raise ValueError(f"codebook has {codebook.numel()} entries, expected 1 to {MAX_CODEBOOK + 1}, the first of them 0")
    if (step := grid_step(codebook)) is None:
        size = codebook.numel() - 1
        return bytes([DTYPES.index(stored)]) + varint(size) + raw(narrowed(codebook[1:], stored)), codes, size
    levels = torch.round(codebook / step).to(torch.int32)
    most = int(levels.abs().max())
    places = torch.where(levels < 0, levels + most + 1, levels + most * (levels > 0)).to(torch.int16)
    return struct.pack("<Bf", _GRID, step) + varint(most), places[codes.int()], 2 * most


def _read_codebook(reader: Reader, dtype: torch.dtype) -> Tensor:
    grid = reader.data[reader.at : reader.at + 1] == bytes([_GRID])
    if grid:
        step, most = struct.unpack("<xf", reader.take(5))[0], reader.varint()
        if dtype != torch.float32 or not 0 < step < math.inf or not 0 < most <= 127:
            raise BadFile(f"{reader.what} has a grid of {most} levels, {step} apart, for {dtype}; it is damaged")
        levels = torch.arange(-most, most + 1)
        return torch.cat([torch.zeros(1), levels[levels != 0] * torch.tensor(step)])
    stored, size = read_dtype(reader), reader.varint()
    if size > MAX_CODEBOOK or not dtype.is_floating_point or not stored.is_floating_point:
        raise BadFile(f"{reader.what} has {size} shared weights of {stored} for {dtype}; it is damaged")
    return torch.cat([torch.zeros(1, dtype=dtype), from_raw(reader.take(size * stored.itemsize), stored).to(dtype)])


def encode_shared(codes: Tensor, codebook: Tensor, index_bits: int, stored: torch.dtype | None = None, huffman: bool = True) -> bytes:
    """A SHARED body for a tensor of codes (0 = pruned) and its codebook (codebook[0] = 0).

    `index_bits` 1 to 12 stores gaps with filler zeros; 0 stores a code for every weight instead (dense layers).
    """
    flat = _checks.code_tensor(codes).reshape(-1)
    if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < max(codebook.numel(), 1):
        raise ValueError(f"codes span {int(flat.min())}..{int(flat.max())}, expected 0..{codebook.numel() - 1}: the entries of the codebook")
    places = torch.nonzero(flat).flatten()
    return encode_kept(SharedKept(tuple(codes.shape), places, flat[places].to(torch.int16), codebook), index_bits, stored, huffman)


def encode_kept(shared: SharedKept, index_bits: int, stored: torch.dtype | None = None, huffman: bool = True) -> bytes:
    """`encode_shared` of a layer that is known by its kept weights."""
    _checks.bit_width(index_bits, "index_bits", smallest=0, largest=MAX_INDEX_BITS)
    book, codes, size = _write_codebook(shared.codes, shared.codebook, stored or shared.codebook.dtype)
    head, width = tensor_header(shared.shape, shared.codebook.dtype) + bytes([index_bits]) + book, code_width(size + 1)
    if index_bits == 0:
        return head + encode_symbols(replace(shared, codes=codes).all_codes().reshape(-1), width, huffman)
    gaps, entries = _index(shared.places, codes, index_bits)
    return head + varint(gaps.numel()) + encode_symbols(gaps, index_bits, huffman) + encode_symbols(entries, width, huffman)


def _index(places: Tensor, codes: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """gap - 1 and code of every entry, fillers included, both int16."""
    parts, last = [], FIRST_IN_FILE
    for place, code in zip(places.split(PART), codes.split(PART)):
        gaps, entry = gaps_with_fillers(place, bits, origin=last)
        entries, last = torch.zeros(gaps.numel(), dtype=torch.int16), int(place[-1]) if place.numel() else last
        entries[entry] = code
        parts.append(((gaps - 1).to(torch.int16), entries))
    return tuple(map(torch.cat, zip(*parts)))


def best_index_bits(codes: Tensor, codebook: Tensor, stored: torch.dtype | None = None) -> int:
    """The gap width, 1 to 12, that makes the SHARED body shortest: Huffman coding makes wide gaps cheap and fillers few.

    >>> best_index_bits((torch.arange(20_000) % 40 == 39).int(), torch.tensor([0.0, 1.0]))
    6
    """
    return min(range(1, MAX_INDEX_BITS + 1), key=lambda bits: len(encode_shared(codes, codebook, bits, stored)))


def encode_context(codes: Tensor, codebook: Tensor, neighbor: int = 0, stored: torch.dtype | None = None) -> bytes:
    """A CONTEXT body for a tensor of codes (0 = pruned) and its codebook; `neighbor` as in `context.encode_codes`."""
    book, codes, size = _write_codebook(_checks.code_tensor(codes), codebook, stored or codebook.dtype)
    head = tensor_header(codes.shape, codebook.dtype) + book + varint(neighbor)
    return head + encode_codes(codes, code_width(size + 1), neighbor)


def code_width(codebook_size: int) -> int:
    """Bits of a weight code: enough for the zero and K shared weights.

    >>> code_width(32), code_width(33)
    (5, 6)
    """
    return max(1, (codebook_size - 1).bit_length())


def open_section(section: Section, budget: Budget) -> Shared:
    """Parse and check a SHARED or CONTEXT section without making the dense tensor. Raises BadFile."""
    return _guarded(_OPENERS[section.kind], section, budget)


def _open_shared(reader: Reader, budget: Budget) -> Shared:
    shape, dtype = read_tensor_header(reader, budget)
    if (index_bits := reader.u8()) > MAX_INDEX_BITS:
        raise BadFile(f"{reader.what} has {index_bits}-bit gaps, expected at most {MAX_INDEX_BITS}; it is damaged")
    codebook = _read_codebook(reader, dtype)
    count = reader.varint() if index_bits else math.prod(shape)
    before = reader.left
    gaps = decode_symbols(reader, count, index_bits) + 1 if index_bits else torch.empty(0, dtype=torch.int32)
    between = reader.left
    codes = decode_symbols(reader, count, code_width(codebook.numel()))
    if int(gaps.sum()) > math.prod(shape):
        raise BadFile(f"{reader.what} points outside its tensor; it is damaged")
    return Shared(shape, dtype, index_bits, codebook, gaps, _inside(codes, codebook, reader), before - between, between - reader.left)


def _open_context(reader: Reader, budget: Budget) -> Shared:
    shape, dtype = read_tensor_header(reader, budget)
    codebook, neighbor, size = _read_codebook(reader, dtype), reader.varint(), reader.left
    codes = decode_codes(reader.take(size), shape, code_width(codebook.numel()), neighbor)
    return Shared(shape, dtype, 0, codebook, torch.empty(0, dtype=torch.int32), _inside(codes.reshape(-1), codebook, reader), 0, size)


def _inside(codes: Tensor, codebook: Tensor, reader: Reader) -> Tensor:
    if codes.numel() and int(codes.max()) >= codebook.numel():
        raise BadFile(f"{reader.what} points outside its codebook; it is damaged")
    return codes


_OPENERS = {SHARED: _open_shared, CONTEXT: _open_context}
_DECODERS = {DENSE: decode_dense, UNIFORM: decode_uniform}


def decode(section: Section, budget: Budget) -> Tensor:
    """The tensor of any section that holds one. Raises BadFile for everything else."""
    if section.kind in _OPENERS:
        return open_section(section, budget).dense()
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
