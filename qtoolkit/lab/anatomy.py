"""What every byte of a compressed file is for: its fields, one after another, from the first byte to the last.

A second reader of the format, written from its page (book/file-format.md): it decodes no weight itself, it says where things are.
"""

import math
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from qtoolkit.compression import container, sections
from qtoolkit.compression.bodies import DTYPES, Budget, from_raw
from qtoolkit.compression.container import Reader
from qtoolkit.quantizers.packing import packed_size

_TYPES = {sections.ARCHITECTURE: "the network's modules", sections.DENSE: "numbers as they are", sections.UNIFORM: "codes on a uniform grid",
          sections.SHARED: "shared weights", sections.CONTEXT: "shared weights, coded by context"}
_MODULES = {1: "Sequential", 2: "Flatten", 3: "Linear", 4: "Conv2d", 7: "ReLU", 8: "MaxPool2d", 9: "AvgPool2d", 12: "Identity"}
_GRID, _HUFFMAN, _LANE = 255, 1, 4096  # byte of a grid, byte of a Huffman stream, symbols in a lane


@dataclass(frozen=True)
class Field:
    """Bytes start .. end - 1. section: whose ('' for the frame); kind: "frame", "shape", "codebook", "gaps", "codes", "table" or "rest"."""

    start: int
    end: int
    section: str
    kind: str
    label: str
    value: str


def fields(data: bytes) -> list[Field]:
    """The fields of a file, without a hole and without an overlap. Raises BadFile for a file that is damaged.

    >>> from qtoolkit.compression.container import Container, to_bytes
    >>> [f"{f.label}: {f.value}" for f in fields(to_bytes(Container([], 0)))][:2]
    ["magic: b'QTDC'", 'version: 1']

    See: book/chapters/19-a-network-in-a-file.ipynb#the-file-byte-by-byte
    """
    content = container.from_bytes(data)
    walk = _Walk(data)
    walk.take("magic", "frame", lambda r: r.take(4))
    walk.take("version", "frame", lambda r: r.unsigned(2))
    walk.take("checksum", "frame", lambda r: r.unsigned(4), lambda crc: f"CRC-32 {crc:08x} of all bytes after it")
    walk.take("length of the file", "frame", Reader.varint, lambda n: f"{n} bytes")
    walk.take("decoded size", "frame", Reader.varint, lambda n: f"{n} bytes once decoded")
    walk.take("sections", "frame", Reader.varint)
    for section in content.sections:
        _section(walk, section)
    return walk.found


def bytes_by_kind(data: bytes) -> dict[str, Counter]:
    """For every section ('' for the frame) how many bytes each kind of field takes; together the length of the file."""
    sizes: dict[str, Counter] = {}
    for field in fields(data):
        sizes.setdefault(field.section, Counter())[field.kind] += field.end - field.start
    return sizes


class _Walk:
    """Reads forward and writes down what it read."""

    def __init__(self, data: bytes):
        self.reader, self.section, self.found = Reader(data), "", []

    def take(self, label: str, kind: str, read: Callable, tell: Callable = str):
        start = self.reader.at
        value = read(self.reader)
        if self.reader.at > start:
            self.found.append(Field(start, self.reader.at, self.section, kind, label, tell(value)))
        return value


def _section(walk: _Walk, section: container.Section) -> None:
    walk.section = section.name or "network"
    walk.take("type of section", "frame", Reader.u8, lambda kind: f"{kind}: {_TYPES.get(kind, 'unknown')}")
    length = walk.take("length of the name", "frame", Reader.varint)
    walk.take("name", "frame", lambda r: r.take(length).decode())
    walk.take("length of the body", "frame", Reader.varint, lambda n: f"{n} bytes")
    _BODIES[section.kind](walk, section)
    walk.section = ""


def _network(walk: _Walk, section: container.Section) -> None:
    walk.take("modules", "frame", lambda r: r.take(len(section.body)), _modules)


def _modules(body: bytes) -> str:
    """Modules without settings by name; a Sequential says how many it has."""
    said, at = [], 0
    while at < len(body) and body[at] in (1, 2, 3, 7, 12):
        said.append(_MODULES[body[at]] + (f" of {body[at + 1]}" if body[at] == 1 else ""))
        at += 2 if body[at] == 1 else 1
    return ", ".join(said) + ("" if at == len(body) else ", and more with their settings")


def _shape(walk: _Walk) -> int:
    """dtype and shape; returns the number of elements."""
    walk.take("dtype", "shape", Reader.u8, _dtype)
    dims = walk.take("dimensions", "shape", Reader.u8)
    shape = walk.take("shape", "shape", lambda r: [r.varint() for _ in range(dims)], lambda s: " x ".join(map(str, s)))
    return math.prod(shape)


def _dtype(number: int) -> str:
    return str(DTYPES[number]).removeprefix("torch.")


def _numbers(values: torch.Tensor, most: int = 8) -> str:
    """The first few of many numbers."""
    said = ", ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values.flatten()[:most].tolist())
    return said + (f", ... {values.numel()} in all" if values.numel() > most else "")


def _dense(walk: _Walk, section: container.Section) -> None:
    count = _shape(walk)
    stored = DTYPES[walk.take("dtype as stored", "shape", Reader.u8, _dtype)]
    walk.take("values", "rest", lambda r: from_raw(r.take(count * stored.itemsize), stored), _numbers)


def _uniform(walk: _Walk, section: container.Section) -> None:
    end = walk.reader.at + len(section.body)
    _shape(walk)
    bits = walk.take("bits of a code", "shape", Reader.u8)
    walk.take("scale", "rest", lambda r: struct.unpack("<f", r.take(4))[0], lambda scale: f"{scale:.4g}")
    decoded = sections.decode(section, Budget(1 << 33))
    walk.take("codes", "rest", lambda r: r.take(end - r.at), lambda _: f"{bits} bits each; times the scale they are {_numbers(decoded)}")


def _codebook(walk: _Walk) -> int:
    """The shared values; returns how many there are, without the zero."""
    first = walk.take("codebook: dtype", "codebook", Reader.u8, lambda n: "a grid" if n == _GRID else _dtype(n))
    if first == _GRID:
        walk.take("codebook: step", "codebook", lambda r: struct.unpack("<f", r.take(4))[0], lambda step: f"{step:.4g}")
        return 2 * walk.take("codebook: levels each way", "codebook", Reader.varint)
    size = walk.take("codebook: how many", "codebook", Reader.varint)
    walk.take("codebook: values", "codebook", lambda r: from_raw(r.take(size * DTYPES[first].itemsize), DTYPES[first]), lambda v: _numbers(v, 40))
    return size


def _symbols(walk: _Walk, what: str, symbols: torch.Tensor, bits: int) -> None:
    form = walk.take(f"{what}: form", what, Reader.u8, lambda form: "Huffman coded" if form == _HUFFMAN else "fixed width")
    if form != _HUFFMAN:
        walk.take(f"{what}: packed", what, lambda r: r.take(packed_size(symbols.numel(), bits)), lambda _: f"{bits} bits each: {_numbers(symbols, 12)}")
        return
    count = walk.take(f"{what}: lengths in the table", "table", Reader.varint)
    walk.take(f"{what}: table of codeword lengths", "table", lambda r: r.take(packed_size(count, 4)), lambda table: _nibbles(table, count))
    size, lanes = walk.take(f"{what}: length of the stream", what, Reader.varint, lambda n: f"{n} bytes"), -(-symbols.numel() // _LANE)
    walk.take(f"{what}: size of each lane", what, lambda r: [r.unsigned(2) for _ in range(lanes)], lambda sizes: f"{_numbers(torch.tensor(sizes))} bytes")
    walk.take(f"{what}: codewords", what, lambda r: r.take(size - 2 * lanes), lambda _: f"decoded: {_numbers(symbols, 12)}")


def _nibbles(table: bytes, count: int) -> str:
    lengths = [table[i // 2] >> 4 * (i % 2) & 15 for i in range(count)]
    return "bits of codewords 0, 1, 2, ...: " + " ".join(map(str, lengths))


def _shared(walk: _Walk, section: container.Section) -> None:
    _shape(walk)
    bits = walk.take("bits of a gap", "shape", Reader.u8)
    size = _codebook(walk)
    opened = sections.open_section(section, Budget(1 << 33))
    if bits:
        walk.take("number of entries", "shape", Reader.varint, lambda n: f"{n}, of which {int((opened.codes == 0).sum())} fillers")
        _symbols(walk, "gaps", opened.gaps, bits)
    _symbols(walk, "codes", opened.codes, sections.code_width(size + 1))


def _context(walk: _Walk, section: container.Section) -> None:
    end = walk.reader.at + len(section.body)
    _shape(walk)
    _codebook(walk)
    walk.take("second neighbor", "shape", Reader.varint)
    walk.take("arithmetic stream", "codes", lambda r: r.take(end - r.at), lambda stream: f"places and codes together in {len(stream)} bytes")


_BODIES = {sections.ARCHITECTURE: _network, sections.DENSE: _dense, sections.UNIFORM: _uniform, sections.SHARED: _shared, sections.CONTEXT: _context}
