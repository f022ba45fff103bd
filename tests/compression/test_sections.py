"""File frame and sections: every tensor comes back bit for bit, every reach for more memory is refused first."""

import doctest
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from qtoolkit.compression import bodies, container, sections
from qtoolkit.compression.bodies import DTYPES, Budget, encode_dense, encode_uniform
from qtoolkit.compression.container import BadFile, Container, Reader, Section, from_bytes, read, to_bytes, varint, write
from qtoolkit.compression.sections import (CONTEXT, DENSE, SHARED, UNIFORM, best_index_bits, code_width, decode, encode_context, encode_shared,
                                           grid_step, open_section)


def test_docstrings_run():
    assert doctest.testmod(container).failed == 0
    assert doctest.testmod(sections).failed == 0
    assert doctest.testmod(bodies).failed == 0


@given(st.integers(0, 2**62 - 1))
def test_varints_read_back_and_agree_with_a_second_definition(value):
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    assert varint(value) == bytes([g | 128 for g in groups[:-1]] + groups[-1:])
    assert Reader(varint(value)).varint() == value


@pytest.mark.parametrize("raw", [b"\x80\x00", b"\xff" * 10, b"\x80", b""])
def test_malformed_varints_are_refused(raw):
    with pytest.raises(BadFile):
        Reader(raw).varint()


def test_the_frame_is_what_its_specification_says():
    raw = to_bytes(Container([Section(2, "w", b"abc")], 40))
    body = varint(len(raw)) + bytes([40, 1]) + b"\x02\x01w\x03abc"
    assert raw == b"QTDC" + struct.pack("<HI", 1, zlib.crc32(body)) + body
    assert from_bytes(raw) == Container([Section(2, "w", b"abc")], 40)
    for size in (120, 121, 122, 16_370, 16_380):
        assert len(from_bytes(to_bytes(Container([Section(2, "w", bytes(size))], 0))).sections[0].body) == size


def test_every_single_byte_change_and_every_cut_is_refused():
    raw = to_bytes(Container([Section(2, "weight", bytes(range(50))), Section(3, "bias", b"")], 4000))
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(BadFile):
            from_bytes(bytes(damaged))
        with pytest.raises(BadFile):
            from_bytes(raw[:position])
    with pytest.raises(BadFile, match="cut short"):
        from_bytes(raw + b"\0")


def test_foreign_future_and_oversized_files_are_told_apart():
    raw = to_bytes(Container([], 1000))
    with pytest.raises(BadFile, match="not a compressed network"):
        from_bytes(b"PK\x03\x04" + raw[4:])
    with pytest.raises(BadFile, match="version 2"):
        from_bytes(raw[:4] + b"\x02" + raw[5:])
    with pytest.raises(BadFile, match="at most 999"):
        from_bytes(raw, max_decoded_bytes=999)


def test_writing_replaces_the_whole_file_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "net.qtdc"
    first = Container([Section(2, "w", b"one")], 0)
    assert write(path, first) == os.path.getsize(path)
    monkeypatch.setattr(container.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(path, Container([Section(2, "w", b"two")], 0))
    assert read(path) == first and os.listdir(tmp_path) == ["net.qtdc"]


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.contiguous().view(-1).view(torch.uint8).equal(b.contiguous().view(-1).view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 1, 5)])
def test_dense_tensors_come_back_bit_for_bit(dtype, shape):
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 50).to(dtype)
    body = encode_dense(tensor)
    assert _same_bits(decode(Section(DENSE, "t", body), Budget(tensor.nbytes)), tensor)
    if tensor.nbytes:
        with pytest.raises(BadFile, match="the header leaves"):
            decode(Section(DENSE, "t", body), Budget(tensor.nbytes - 1))


def test_non_contiguous_and_special_values_survive():
    tensor = torch.tensor([[float("nan"), -0.0, float("inf")], [1e-45, 3.0, -1.5]]).t()
    assert _same_bits(decode(Section(DENSE, "t", encode_dense(tensor)), Budget(24)), tensor)
    narrow = decode(Section(DENSE, "t", encode_dense(torch.tensor([0.1, 2.0]), torch.float16)), Budget(8))
    assert narrow.tolist() == [np.float32(np.float16(0.1)), 2.0]


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_uniform_tensors_are_on_their_grid(bits):
    tensor = torch.randn(37, generator=torch.Generator().manual_seed(1))
    back = decode(Section(UNIFORM, "b", encode_uniform(tensor, bits)), Budget(1000))
    step = float(tensor.abs().max()) / (2 ** (bits - 1) - 1)
    assert (back - tensor).abs().max() <= step / 2 * 1.0001
    assert back.unique().numel() <= 2**bits - 1
    assert encode_uniform(back, bits) == encode_uniform(tensor, bits)
    zeros = torch.zeros(5)
    assert torch.equal(decode(Section(UNIFORM, "b", encode_uniform(zeros, bits)), Budget(20)), zeros)


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_zeros_at_the_end_of_a_uniform_tensor_cost_nothing(bits):
    bias = torch.tensor([0.5, 0.0, -1.0] + [0.0] * 997)
    body = encode_uniform(bias, bits)
    assert len(body) <= 2 + 2 + 5 + 3 and torch.equal(decode(Section(UNIFORM, "b", body), Budget(4000)) != 0, bias != 0 if bits > 2 else bias == -1)


@given(st.integers(0, 9), st.integers(1, 40), st.floats(0, 1), st.sampled_from([0, 1, 3, 5, 8, 12]), st.booleans())
def test_shared_tensors_come_back_bit_for_bit(seed, size, density, index_bits, huffman):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(1, size + 1, (7, 5, 11), generator=generator) * (torch.rand(7, 5, 11, generator=generator) < density)
    codebook = torch.cat([torch.zeros(1), torch.randn(size, generator=generator)])
    body = encode_shared(codes, codebook, index_bits, huffman=huffman)
    assert _same_bits(decode(Section(SHARED, "w", body), Budget(385 * 4)), codebook[codes])
    opened = open_section(Section(SHARED, "w", body), Budget(385 * 4))
    kept = int((codes != 0).sum())
    assert int((opened.codes != 0).sum()) == kept and (opened.gaps.numel() >= kept or index_bits == 0)
    assert opened.gap_bytes + opened.code_bytes < len(body)
    with pytest.raises(BadFile, match="the header leaves"):
        open_section(Section(SHARED, "w", body), Budget(385 * 4 - 1))


def test_shared_sections_of_every_strange_size():
    for shape in ((0,), (1,), (4, 0), (1, 1, 1)):
        for codes in (torch.zeros(shape, dtype=torch.int64), torch.ones(shape, dtype=torch.int64)):
            for index_bits in (0, 4):
                codebook = torch.tensor([0.0, 2.5])
                body = encode_shared(codes, codebook, index_bits)
                assert _same_bits(decode(Section(SHARED, "w", body), Budget(100)), codebook[codes])
    assert [code_width(n) for n in (1, 2, 3, 4, 5, 256, 257)] == [1, 1, 2, 2, 3, 8, 9]


def test_the_fixed_width_size_is_the_papers_arithmetic():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(1, 32, (300, 784), generator=generator) * (torch.rand(300, 784, generator=generator) < 0.08)
    codebook = torch.cat([torch.zeros(1), torch.randn(31, generator=generator)])
    body = encode_shared(codes, codebook, 5, huffman=False)
    opened = open_section(Section(SHARED, "w", body), Budget(10**6))
    entries = opened.codes.numel()
    streams = 2 * (1 + (entries * 5 + 7) // 8)
    assert opened.gap_bytes + opened.code_bytes == streams
    assert len(body) - streams < 31 * 4 + 16
    assert len(encode_shared(codes, codebook, 5)) < len(body)


@settings(max_examples=20)
@given(st.integers(0, 9), st.integers(1, 40), st.floats(0, 1), st.sampled_from([0, 3, 11]))
def test_context_tensors_come_back_bit_for_bit(seed, size, density, neighbor):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(1, size + 1, (7, 5, 11), generator=generator) * (torch.rand(7, 5, 11, generator=generator) < density)
    codebook = torch.cat([torch.zeros(1), torch.randn(size, generator=generator)])
    body = encode_context(codes, codebook, neighbor)
    assert _same_bits(decode(Section(CONTEXT, "w", body), Budget(385 * 4)), codebook[codes])


@pytest.mark.parametrize("levels", [[-2, -1, 1, 2], [-3, 1, 2], [-1, 5], [1, 2, 127], [-7, -1]])
@pytest.mark.parametrize("step", [0.125, 0.0371, 1e-20])
def test_a_uniform_grid_is_stored_as_its_step(levels, step):
    values = torch.tensor(levels) * torch.tensor(step)
    codebook = torch.cat([torch.zeros(1), values])
    codes = torch.arange(40).reshape(4, 10) % len(codebook)
    assert grid_step(codebook) == pytest.approx(step)
    for kind, body in ((SHARED, encode_shared(codes, codebook, 5, torch.float16)), (CONTEXT, encode_context(codes, codebook))):
        assert _same_bits(decode(Section(kind, "w", body), Budget(160)), codebook[codes])
    assert grid_step(torch.cat([torch.zeros(1), values + step / 3])) is None


def test_the_best_index_width_is_the_one_with_the_shortest_body():
    generator = torch.Generator().manual_seed(0)
    for density in (0.3, 0.05, 0.01):
        codes = torch.randint(1, 4, (5000,), generator=generator) * (torch.rand(5000, generator=generator) < density)
        codebook = torch.tensor([0.0, 1.0, 2.5, 3.0])
        sizes = {bits: len(encode_shared(codes, codebook, bits)) for bits in range(1, 13)}
        assert sizes[best_index_bits(codes, codebook)] == min(sizes.values())


def test_a_section_of_a_later_type_is_named_as_such():
    with pytest.raises(BadFile, match="type 77"):
        decode(Section(77, "w", b""), Budget(0))


def test_bad_codebooks_are_refused():
    codes = torch.ones(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="the first of them 0"):
        encode_shared(codes, torch.tensor([1.0, 2.0]), 4)
    with pytest.raises(ValueError, match="index_bits"):
        encode_shared(codes, torch.tensor([0.0, 2.0]), 13)
    for strange in (2 * codes, -codes, codes + 65536):
        with pytest.raises(ValueError, match="expected 0..1: the entries"):
            encode_shared(strange, torch.tensor([0.0, 2.0]), 4)
    with pytest.raises(TypeError, match="integer"):
        encode_shared(codes.float(), torch.tensor([0.0, 2.0]), 4)
    with pytest.raises(ValueError, match="NaN"):
        encode_uniform(torch.tensor([float("nan")]), 8)
