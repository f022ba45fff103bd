"""Packing against Python's own integers."""

import pytest
import torch
from hypothesis import given, strategies as st

from qtoolkit.quantizers import pack, packed_size, unpack


def pack_with_python_integers(codes, bits):
    """One big integer, code i shifted left by i * bits, written little-endian."""
    number = sum((code % 2**bits) << (i * bits) for i, code in enumerate(codes))
    return list(number.to_bytes((len(codes) * bits + 7) // 8, "little"))


@given(bits=st.integers(1, 16), signed=st.booleans(), data=st.data())
def test_pack_writes_little_endian_bits_and_unpack_reads_them_back(bits, signed, data):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    codes = data.draw(st.lists(st.integers(low, high), max_size=50))
    packed = pack(torch.tensor(codes, dtype=torch.int32), bits)
    assert packed.dtype == torch.uint8
    assert packed.tolist() == pack_with_python_integers(codes, bits)
    assert unpack(packed, bits, len(codes), signed).tolist() == codes


@pytest.mark.parametrize("bits", range(1, 17))
def test_a_long_tensor_survives_in_chunks(bits):
    count = (1 << 20) + 12_345
    codes = torch.randint(0, 2**bits, (count,), dtype=torch.int32, generator=torch.Generator().manual_seed(bits))
    packed = pack(codes, bits)
    assert packed.numel() == packed_size(count, bits) == -(-count * bits // 8)
    assert torch.equal(unpack(packed, bits, count), codes)


def test_eight_bit_codes_are_their_own_packing():
    codes = torch.arange(-128, 128, dtype=torch.int8)
    assert torch.equal(pack(codes, 8), codes.view(torch.uint8))


def test_views_pack_like_their_copies():
    codes = torch.arange(24).reshape(4, 6)
    assert torch.equal(pack(codes.T, 5), pack(codes.T.contiguous(), 5))


@pytest.mark.parametrize("codes,bits", [([4], 2), ([-3], 2), ([-1, 2], 2), ([65536], 16), ([2**31], 16)])
def test_a_code_that_does_not_fit_is_refused(codes, bits):
    with pytest.raises(ValueError, match="cannot hold"):
        pack(torch.tensor(codes), bits)
