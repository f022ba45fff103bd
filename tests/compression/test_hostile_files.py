r"""Damaged, truncated, spliced and hostile files: refused with a clear error, or decoded to exactly the original.

A few thousand mutations here; QT_FUZZ=200000 in the environment runs 200,000. To let AddressSanitizer watch the native decoder:

    cmake -S qtoolkit/kernels/csrc -B build/asan -DQK_SANITIZE=ON && cmake --build build/asan
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 \
        QTOOLKIT_LIBRARY=build/asan/libqtoolkit_kernels.so QT_FUZZ=200000 python -m pytest tests/compression/test_hostile_files.py
"""

import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from qtoolkit.compression import architecture, container, sections
from qtoolkit.compression.container import BadFile, from_bytes
from qtoolkit.compression.pipeline import ContextRecipe, LayerRecipe, Recipe, compress, read_tensors
from qtoolkit.compression.report import report_of

if sys.platform == "linux":
    import resource

ROUNDS = int(os.environ.get("QT_FUZZ", 3000))
LIMIT = 1 << 16


def _files(folder) -> list[bytes]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 4))
    recipes = (Recipe(LayerRecipe(0.2, 4, 3)), Recipe(LayerRecipe(0.5, 3, 0), bias_bits=6), Recipe(LayerRecipe(0.1, 2, 2), huffman=False, bias_bits=16),
               Recipe(ContextRecipe(0.1, 2, 4), bias_bits=4))
    for recipe in recipes:
        compress(model, folder / "net", recipe)
        yield (folder / "net").read_bytes()


def _decode(raw: bytes) -> dict[str, torch.Tensor]:
    """Everything that `decompress` does with bytes that nobody vouches for."""
    content = from_bytes(raw, LIMIT)
    tensors = read_tensors(content)
    assert sum(t.nbytes for t in tensors.values()) == content.decoded_bytes <= LIMIT
    for section in content.sections:
        if section.kind == sections.ARCHITECTURE:
            architecture.build(section.body, {name: tuple(t.shape) for name, t in tensors.items()})
    return tensors


def _mutate(raw: bytes, other: bytes, rng: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(data))
        match rng.randrange(6):
            case 0: data[at] ^= 1 << rng.randrange(8)
            case 1: data[at] = rng.choice((0, 1, 127, 128, 255))
            case 2: del data[at : at + rng.randrange(1, 9)]
            case 3: data[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 4: data = data[: at + 1]
            case 5: data[at:] = other[rng.randrange(len(other)) :]
        data = data or bytearray(1)
    return bytes(data)


def _resealed(raw: bytes) -> bytes:
    """The same bytes with a length and checksum that fit: what an adversary would send."""
    reader = container.Reader(raw[10:] if len(raw) > 10 else b"\0")
    try:
        reader.varint()
    except BadFile:
        reader.at = min(1, len(reader.data))
    rest = bytes(reader.data[reader.at :])
    length = next(n for n in range(len(rest) + 10, len(rest) + 25) if n == 10 + len(rest) + len(container.varint(n)))
    body = container.varint(length) + rest
    return b"QTDC\x01\x00" + zlib.crc32(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("seal", [False, True], ids=["damaged", "hostile"])
def test_mutated_files_are_refused_or_are_the_original(tmp_path, seal):
    rng, originals = random.Random(2016), list(_files(tmp_path))
    expected = [_decode(raw) for raw in originals]
    refused = 0
    for _ in range(ROUNDS // 2):
        which = rng.randrange(len(originals))
        data = _mutate(originals[which], rng.choice(originals), rng)
        try:
            tensors = _decode(_resealed(data) if seal else data)
        except BadFile as error:
            refused += 1
            assert 20 < len(str(error)) < 1500
            continue
        if not seal:
            assert all(any(torch.equal(t, e.get(name, torch.empty(0, 7))) for e in expected) for name, t in tensors.items())
    assert refused > ROUNDS // 2 * (0.3 if seal else 0.99)


@pytest.mark.skipif(sys.platform != "linux" or "LD_PRELOAD" in os.environ, reason="hardware: needs a limit on a process's memory")
def test_a_hostile_file_gets_no_more_memory_than_its_checked_size(tmp_path):
    """64 MB more than the process has: a thousand times what these files decode to, and none of the sizes they dream up."""
    for index, raw in enumerate(_files(tmp_path)):
        (tmp_path / f"{index}.original").write_bytes(raw)
    run = subprocess.run([sys.executable, "-c", "import test_hostile_files as t, sys; print(*t._refused_in_little_memory(sys.argv[1]))", tmp_path],
                         cwd=Path(__file__).parent, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert run.returncode == 0, run.stderr
    refused, tried = map(int, run.stdout.split())
    assert refused > 0.9 * tried > 1000


def _dreams(raw: bytes) -> Iterator[bytes]:
    """The file with one number near the start of a section, where sizes are, replaced by a great one; all lengths and the checksum fit."""
    content = from_bytes(raw, LIMIT)
    for index, section in enumerate(content.sections):
        for at in range(min(len(section.body), 12)):
            for size in (1 << 14, 1 << 20, 1 << 26, 1 << 30, 1 << 40):
                body = section.body[:at] + container.varint(size) + section.body[at + 1 :]
                changed = content.sections[:index] + [replace(section, body=body)] + content.sections[index + 1 :]
                yield container.to_bytes(replace(content, sections=changed))


def _refused_in_little_memory(folder: str) -> tuple[int, int]:
    """How many of how many dreams are refused while the address space may grow by 64 MB."""
    originals = [path.read_bytes() for path in sorted(Path(folder).glob("*.original"))]
    for raw in originals:
        _decode(raw)                                        # what is loaded late is loaded now
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)
    refused = tried = 0
    for data in (dream for raw in originals for dream in _dreams(raw)):
        tried += 1
        try:
            _decode(data)
        except BadFile:
            refused += 1
    return refused, tried


def test_inspecting_a_hostile_file_is_as_safe_as_decoding_it(tmp_path):
    rng, originals = random.Random(7), list(_files(tmp_path))
    inspected = 0
    for _ in range(ROUNDS // 6):
        data = _resealed(_mutate(rng.choice(originals), rng.choice(originals), rng))
        try:
            inspected += report_of(from_bytes(data, LIMIT), len(data)).bytes == len(data)
        except BadFile:
            pass
    assert inspected


def _section(kind: int, body: bytes, decoded: int) -> bytes:
    return container.to_bytes(container.Container([container.Section(kind, "w", body)], decoded))


@pytest.mark.parametrize("body, kind, decoded, message", [
    (bytes([0, 2]) + container.varint(1 << 40) * 2 + b"\0", sections.DENSE, 1 << 16, "header leaves"),
    (bytes([0, 1]) + container.varint(100) + b"\0" + bytes(399), sections.DENSE, 400, "ends after"),
    (bytes([0, 1]) + container.varint(100) + b"\0" + bytes(401), sections.DENSE, 400, "too many"),
    (bytes([0, 3, 0]) + container.varint(1 << 60) * 2, sections.DENSE, 0, "header leaves"),
    (bytes([99, 0, 0]), sections.DENSE, 4, "dtype number"),
    (bytes([0, 9]), sections.DENSE, 4, "9 dimensions"),
    (bytes([0, 1, 8, 4, 0, 1]) + bytes(4) + container.varint(1 << 50), sections.SHARED, 32, "claims"),
    (bytes([0, 1]) + container.varint(1 << 14) + bytes([0, 1]) + bytes(4) + b"\0", sections.CONTEXT, 1 << 16, "cut short"),
    (bytes([0, 1, 8, 4, 255, 0, 0, 128, 127, 1, 0]), sections.SHARED, 32, "grid of"),
    (bytes([0, 1, 8, 4, 255]) + bytes(3), sections.SHARED, 32, "ends after"),
    (bytes([0, 1, 8, 13, 0, 1]) + bytes(4), sections.SHARED, 32, "13-bit gaps"),
    (bytes([0, 1, 2, 4, 0, 1]) + bytes(4) + bytes([2, 0, 0xFF, 0, 3]), sections.SHARED, 8, "points outside"),
    (bytes([0, 1, 4, 0, 0, 2]) + bytes(8) + bytes([0, 0xFF]), sections.SHARED, 16, "points outside"),
    (bytes([9, 1, 1, 9, 7]), sections.DENSE, 1, "booleans"),
    (bytes([0, 1, 1, 99]) + bytes(5), sections.UNIFORM, 4, "99-bit"),
    (bytes([0, 0, 0]) + bytes(4), sections.DENSE, 8, "announces"),
])
def test_hostile_sections_are_told_what_is_wrong(body, kind, decoded, message):
    with pytest.raises(BadFile, match=message):
        _decode(_section(kind, body, decoded))


def test_two_sections_of_one_name_are_refused():
    twice = container.Section(sections.DENSE, "w", bytes([0, 0, 0]) + bytes(4))
    with pytest.raises(BadFile, match="two sections"):
        _decode(container.to_bytes(container.Container([twice, twice], 8)))
