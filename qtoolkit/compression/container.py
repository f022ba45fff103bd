"""A compressed network in one file: the frame around typed sections (version 1). The whole format: book/file-format.md.

    4 bytes   magic "QTDC"
    u16       version, 1
    u32       CRC-32 of everything after these ten bytes
    varint    length of the file in bytes
    varint    bytes of all decoded tensors together: a reader checks it before it allocates anything
    varint    number of sections
    sections  u8 type, varint + name (UTF-8, at most 255 bytes), varint + body

Numbers are little-endian; a varint is LEB128 (7 bits a byte, lowest first, no superfluous zero byte). Nothing depends on
torch's version, nothing is pickled, nothing is aligned. The size of a compressed network is the length of this file.
"""

import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

MAGIC, VERSION = b"QTDC", 1
_PREFIX = len(MAGIC) + 2 + 4
_LARGEST_VARINT = 1 << 62
MAX_DECODED_BYTES, MAX_NAME = 1 << 33, 255


class BadFile(ValueError):
    """The file is damaged, cut short, hostile, or of another kind or version; nothing was loaded."""


@dataclass(frozen=True)
class Section:
    """One typed piece of a file. `sections.py` says what the bodies of the known types hold."""

    kind: int
    name: str
    body: bytes

    @property
    def nbytes(self) -> int:
        """Bytes this section takes in the file, its own heading included."""
        return len(_heading(self)) + len(self.body)


@dataclass(frozen=True)
class Container:
    """The sections of a file and the number of bytes that its tensors take once decoded."""

    sections: list[Section]
    decoded_bytes: int


def varint(value: int) -> bytes:
    """LEB128: 7 bits a byte, lowest first, the top bit says that more follow.

    >>> varint(300).hex()
    'ac02'
    """
    if not 0 <= value < _LARGEST_VARINT:
        raise ValueError(f"value is {value}, expected 0 to 2^62 - 1")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


class Reader:
    """Reads forward through bytes that nobody vouches for; every reach beyond the end is a BadFile."""

    def __init__(self, data: bytes, what: str = "the file"):
        self.data, self.at, self.what = memoryview(data), 0, what

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise BadFile(f"{self.what} ends after {len(self.data)} bytes, expected {self.at + count} or more; it is damaged or cut short")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def u8(self) -> int:
        return self.take(1)[0]

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        value, shift, byte = 0, 0, 128
        while byte & 128:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if value >= _LARGEST_VARINT or shift > 63 or (byte == 0 and shift > 7):
                raise BadFile(f"{self.what} has a malformed number at byte {self.at}; it is damaged")
        return value

    def finish(self) -> None:
        if self.left:
            raise BadFile(f"{self.what} has {self.left} bytes too many; it is damaged")


def _heading(section: Section) -> bytes:
    name = section.name.encode()
    if len(name) > MAX_NAME:
        raise ValueError(f"section name {section.name!r} has {len(name)} bytes, expected at most {MAX_NAME}")
    return bytes([section.kind]) + varint(len(name)) + name + varint(len(section.body))


def to_bytes(container: Container) -> bytes:
    """The file's bytes."""
    parts = [part for section in container.sections for part in (_heading(section), section.body)]
    head = varint(container.decoded_bytes) + varint(len(container.sections))
    rest = len(head) + sum(map(len, parts))
    length = next(n for n in range(_PREFIX + 1 + rest, _PREFIX + 11 + rest) if n == _PREFIX + rest + len(varint(n)))
    body = b"".join([varint(length), head, *parts])
    return MAGIC + VERSION.to_bytes(2, "little") + zlib.crc32(body).to_bytes(4, "little") + body


def from_bytes(data: bytes, max_decoded_bytes: int = MAX_DECODED_BYTES) -> Container:
    """Parse and check a file's bytes; bodies stay encoded. Raises BadFile, never anything else.

    See: book/chapters/19-a-network-in-a-file.ipynb#back-again-bit-for-bit
    """
    reader = Reader(data)
    if reader.take(min(4, len(data))) != MAGIC:
        raise BadFile(f"the file begins with {bytes(data[:4])!r}, expected {MAGIC!r}: not a compressed network of this kind")
    if (version := reader.unsigned(2)) != VERSION:
        raise BadFile(f"the file has format version {version}, expected {VERSION}; a newer qtoolkit may read it")
    checksum = reader.unsigned(4)
    if (length := reader.varint()) != len(data):
        raise BadFile(f"the file has {len(data)} bytes, its header says {length}; it is damaged or cut short")
    if zlib.crc32(memoryview(data)[_PREFIX:]) != checksum:
        raise BadFile("the file's checksum does not match its contents; it is damaged")
    if (decoded := reader.varint()) > max_decoded_bytes:
        raise BadFile(f"the file decodes to {decoded} bytes, expected at most {max_decoded_bytes}; raise max_decoded_bytes if you trust it")
    sections = [_read_section(reader) for _ in range(_plausible(reader.varint(), reader.left // 3))]
    reader.finish()
    return Container(sections, decoded)


def _plausible(count: int, largest: int) -> int:
    if count > largest:
        raise BadFile(f"the header claims {count} sections, expected at most {largest} in a file of this length; it is damaged")
    return count


def _read_section(reader: Reader) -> Section:
    kind, length = reader.u8(), reader.varint()
    if length > MAX_NAME:
        raise BadFile(f"a section's name has {length} bytes, expected at most {MAX_NAME}; the file is damaged")
    name = reader.take(length)
    try:
        return Section(kind, name.decode(), reader.take(reader.varint()))
    except UnicodeDecodeError:
        raise BadFile(f"a section is named {name!r}, expected UTF-8; the file is damaged") from None


def write(path: str | Path, container: Container) -> int:
    """Write the file under a temporary name beside `path`, then rename it: the old file or the new one, never half of one.

    Returns its length in bytes.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, expected the name of a file to write; add one, such as {path / 'net.qtdc'}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is no directory, so {path.name} cannot be written there; make it first")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or ".")
    try:
        with os.fdopen(handle, "wb") as file:
            length = file.write(to_bytes(container))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return length


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read(path: str | Path, max_decoded_bytes: int = MAX_DECODED_BYTES) -> Container:
    """Read and check the file at `path`. Raises FileNotFoundError, or BadFile naming the file and what is wrong."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}, expected a compressed network; write one with `qt compress lenet-300-100 {path}`")
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a directory, expected one compressed file; name a file inside it")
    try:
        return from_bytes(Path(path).read_bytes(), max_decoded_bytes)
    except BadFile as error:
        raise BadFile(f"{path}: {error}") from None
