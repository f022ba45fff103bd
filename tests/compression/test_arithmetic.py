"""The arithmetic coder against the ideal code length, its table against math.exp, and its stream against a fixed digest."""

import doctest
import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from qtoolkit.compression import arithmetic, context
from qtoolkit.compression.arithmetic import _LIMIT, _STRETCH, ONE, SQUASH, Decoder, Encoder, Mixer
from qtoolkit.compression.context import decode_codes, encode_codes


def test_docstrings_run():
    assert doctest.testmod(arithmetic).failed == 0
    assert doctest.testmod(context).failed == 0


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, ONE - 1)), max_size=300))
def test_any_bits_under_any_probabilities_read_back(pairs):
    encoder = Encoder()
    for bit, p in pairs:
        encoder.code(bit, p)
    stream = encoder.finish()
    decoder = Decoder(stream)
    assert [decoder.code(0, p) for _, p in pairs] == [bit for bit, _ in pairs]
    decoder.finish()
    ideal = sum(-math.log2((p if bit else ONE - p) / ONE) for bit, p in pairs)
    assert len(stream) <= ideal / 8 * 1.01 + 2


def test_the_coder_reaches_the_ideal_length():
    rng, encoder, ideal = np.random.default_rng(0), Encoder(), 0.0
    for p in rng.integers(200, ONE - 200, 20_000).tolist():
        bit = int(rng.random() * ONE < p)
        encoder.code(bit, p)
        ideal -= math.log2((p if bit else ONE - p) / ONE)
    assert len(encoder.finish()) == pytest.approx(ideal / 8, rel=1e-3)


def test_the_logistic_tables_are_the_logistic_function_and_its_inverse():
    for d in range(-_LIMIT, _LIMIT + 1):
        assert abs(SQUASH[d + _LIMIT] - ONE / (1 + math.exp(-d / 256))) <= 1
    assert all(0 < p < ONE for p in SQUASH) and SQUASH == sorted(SQUASH)
    for p in range(8, ONE // 16 - 8):
        exact = 256 * math.log((16 * p + 8) / (ONE - 16 * p - 8))
        assert abs(_STRETCH[p] - exact) <= 1.5 + 256 * 2 / min(16 * p, ONE - 16 * p)
    assert _STRETCH[ONE // 32] in (0, 1) and _STRETCH == sorted(_STRETCH)


def _codes(rows: int, columns: int, density: float, most: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    alive = torch.rand(1, columns, generator=generator) * 2 * density
    return torch.randint(1, most + 1, (rows, columns), generator=generator) * (torch.rand(rows, columns, generator=generator) < alive)


@pytest.mark.parametrize("shape", [(0,), (5,), (1, 1), (0, 3), (3, 0), (40, 50), (6, 3, 3, 3)])
def test_codes_of_any_shape_read_back(shape):
    codes = torch.randint(0, 8, shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(decode_codes(encode_codes(codes, 3, neighbor=2), codes.shape, 3, neighbor=2), codes.int())


def test_structure_is_found_and_randomness_costs_little_more_than_its_entropy():
    def bound(codes, by_column):
        share = (codes != 0).double().mean(0 if by_column else None).clamp(1e-9, 1 - 1e-9)
        mask = -(share * share.log2() + (1 - share) * (1 - share).log2())
        return (float(mask.sum() * codes.shape[0]) if by_column else float(mask * codes.numel())) + int((codes != 0).sum()) * math.log2(3)
    codes = _codes(200, 100, 0.05)
    bits = 8 * len(encode_codes(codes, 2))
    assert bits < 1.03 * bound(codes, by_column=False)
    assert bits < 1.15 * bound(codes, by_column=True)
    dead = codes.clone()
    dead[:, ::2] = 0
    assert 8 * len(encode_codes(dead, 2)) < 0.62 * bits


def test_the_stream_is_the_same_on_every_machine():
    stream = encode_codes(_codes(60, 80, 0.1), 2, neighbor=8)
    assert hashlib.sha256(stream).hexdigest() == "dbb3df5591e405bae1e1b4ddf0e7d30b57ac06d1687604b6e7a0f3e83903e793"
    assert hashlib.sha256(str((SQUASH, _STRETCH)).encode()).hexdigest() == "7195fd7dfc65176894596afb61b9be376776c84ead526c4c05ec6e598484c96c"


def test_a_mixer_learns_which_context_to_trust():
    rng = np.random.default_rng(0)
    useful, useless = Mixer(inputs=2), Mixer(inputs=2)
    lengths = []
    for mixer, informed in ((useful, True), (useless, False)):
        encoder = Encoder()
        for i in range(3000):
            mixer.code(encoder, i % 2, (i % 2 if informed else 0, int(rng.integers(50))))
        lengths.append(len(encoder.finish()))
    assert lengths[0] < 30 and lengths[1] > 350


def test_damage_is_refused_or_bounded():
    codes = _codes(30, 40, 0.1)
    stream = encode_codes(codes, 2)
    refused = 0
    for damaged in [stream[:cut] for cut in range(len(stream))] + [stream + extra for extra in (b"\0", b"\1", bytes(9))]:
        try:
            other = decode_codes(damaged, codes.shape, 2)
        except ValueError as error:
            assert "damaged" in str(error)
            refused += 1
        else:
            assert encode_codes(other, 2) == damaged            # only the one way to write these codes is accepted
    assert refused > 0.9 * len(stream)
    with pytest.raises(ValueError, match="too large"):
        decode_codes(stream, (1 << 13, 1 << 12), 2)
