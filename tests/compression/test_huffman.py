"""Huffman coding against bitarray's optimal code, zlib's definition of canonical, Shannon's bounds and brute force."""

import doctest
import heapq

import bitarray
import bitarray.util
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from qtoolkit.compression import huffman
from qtoolkit.compression.huffman import (LANE, MAX_LENGTH, HuffmanCode, code_lengths, decode, encode, entropy, merges,
                                          total_bits, trace)

counts = st.lists(st.integers(0, 1000), min_size=1, max_size=80).filter(any)


def test_docstrings_run():
    assert doctest.testmod(huffman).failed == 0


def _oracle_bits(frequencies) -> int:
    code = bitarray.util.huffman_code({s: int(f) for s, f in enumerate(frequencies) if f})
    return sum(len(code[s]) * int(f) for s, f in enumerate(frequencies) if f)


@given(counts)
def test_total_bits_equal_an_independent_optimal_coder(frequencies):
    frequencies = np.array(frequencies)
    lengths = code_lengths(frequencies)
    assert total_bits(frequencies, lengths) == _oracle_bits(frequencies)
    if (frequencies > 0).sum() > 1:
        mean = total_bits(frequencies, lengths) / frequencies.sum()
        assert entropy(frequencies) - 1e-9 <= mean < entropy(frequencies) + 1


def _fibonacci(n: int) -> np.ndarray:
    values = [1, 1]
    while len(values) < n:
        values.append(values[-1] + values[-2])
    return np.array(values)


def _best_limited(frequencies, limit) -> int:
    """Brute force: the cheapest non-decreasing lengths that satisfy Kraft, frequencies sorted downwards."""
    frequencies = sorted((f for f in frequencies if f), reverse=True)
    heap, seen = [(0, 0, 0, 1)], set()                 # cost, symbols placed, Kraft units used, shortest length allowed
    while heap:
        cost, placed, used, shortest = heapq.heappop(heap)
        if placed == len(frequencies):
            return cost
        if (placed, used, shortest) in seen:
            continue
        seen.add((placed, used, shortest))
        for length in range(shortest, limit + 1):
            if used + 2 ** (limit - length) <= 2**limit:
                heapq.heappush(heap, (cost + length * frequencies[placed], placed + 1, used + 2 ** (limit - length), length))
    raise AssertionError("no code")


@given(st.lists(st.integers(1, 400), min_size=2, max_size=9), st.integers(4, 6))
def test_limited_codes_are_the_best_within_the_limit(frequencies, limit):
    frequencies = np.array(frequencies) ** 2
    lengths = code_lengths(frequencies, limit)
    assert lengths.max() <= limit
    assert total_bits(frequencies, lengths) == _best_limited(frequencies.tolist(), limit)
    HuffmanCode(lengths)


def test_the_limit_of_15_and_its_price():
    frequencies = _fibonacci(30)
    limited, free = total_bits(frequencies, code_lengths(frequencies)), _oracle_bits(frequencies)
    assert code_lengths(frequencies).max() == MAX_LENGTH
    assert free < limited < 1.0001 * free
    with pytest.raises(ValueError, match="limit"):
        code_lengths(np.ones(9, int), limit=3)


@given(counts)
def test_codewords_are_canonical(frequencies):
    code = HuffmanCode.fit(np.array(frequencies))
    oracle, first, used = bitarray.util.canonical_huffman({s: f for s, f in enumerate(frequencies) if f})
    by_length = sorted(code.words().items(), key=lambda item: (len(item[1]), item[0]))
    assert [len(word) for _, word in by_length] == sorted(len(word) for word in oracle.values())
    numbers = [int(word + "0" * (MAX_LENGTH - len(word)), 2) for _, word in by_length]
    assert numbers == sorted(numbers) and numbers[0] == 0
    words = code.words().values()
    assert not any(a != b and b.startswith(a) for a in words for b in words)


@pytest.mark.parametrize("size", [1, 2, 100, LANE - 1, LANE, LANE + 1, 3 * LANE, 130 * LANE + 17])
@pytest.mark.parametrize("kind", ["geometric", "uniform", "one", "skewed"])
def test_round_trip(size, kind):
    rng = np.random.default_rng(size)
    symbols = {"geometric": lambda: rng.geometric(0.3, size).clip(max=31), "uniform": lambda: rng.integers(0, 256, size),
               "one": lambda: np.full(size, 7), "skewed": lambda: rng.choice(30, size, p=_fibonacci(30) / _fibonacci(30).sum())}[kind]()
    frequencies = np.bincount(symbols)
    code = HuffmanCode.fit(frequencies)
    stream = encode(symbols, code)
    assert np.array_equal(decode(stream, code, size), symbols)
    lanes = -(-size // LANE)
    bits = total_bits(frequencies, code.lengths)
    assert 0 <= len(stream) - 2 * lanes - bits / 8 < lanes


def test_a_lane_is_readable_by_bitarray():
    """The stream's bit order is a fact of the file, so an independent decoder reads it."""
    symbols = np.random.default_rng(0).geometric(0.4, 3000)
    code = HuffmanCode.fit(np.bincount(symbols))
    stream = bitarray.bitarray(endian="little")
    stream.frombytes(encode(symbols, code)[2:])
    words = {symbol: bitarray.bitarray(word) for symbol, word in code.words().items()}
    length = total_bits(np.bincount(symbols), code.lengths)
    assert list(stream[:length].decode(words)) == symbols.tolist()
    assert not stream[length:].any()
    assert [symbol for _, _, symbol in trace(encode(symbols, code), code, 3000)] == symbols.tolist()


def test_an_empty_stream_is_empty():
    code = HuffmanCode.fit(np.array([1, 1]))
    assert encode(np.array([], int), code) == b""
    assert decode(b"", code, 0).size == 0


def test_merges_tell_the_story_of_the_tree():
    story = merges(np.array([45, 13, 12, 16, 9, 5]))       # Cormen et al., Introduction to Algorithms, figure 16.5
    assert [step.weight for step in story] == [14, 25, 30, 55, 100]
    assert code_lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]


def test_torch_symbols_are_welcome_and_reals_are_not():
    code = HuffmanCode.fit(np.array([3, 1]))
    assert encode(torch.tensor([0, 1], dtype=torch.uint8), code) == encode(np.array([0, 1]), code)
    with pytest.raises(TypeError, match="expected integers"):
        encode(np.array([0.5]), code)
    for bad in ([2], [-1]):
        with pytest.raises(ValueError, match="no codeword"):
            encode(np.array(bad), code)


@pytest.mark.parametrize("lengths", [[1, 1, 1], [2, 2, 2], [0, 0], [2], [16, 16]])
def test_lengths_that_are_no_complete_code_are_refused(lengths):
    with pytest.raises(ValueError, match="code lengths"):
        HuffmanCode(np.array(lengths, dtype=np.uint8))


@pytest.mark.parametrize("frequencies", [[-1, 2], [0.5, 0.5], np.ones(5000, int), [[1, 2]]])
def test_bad_frequencies_are_refused(frequencies):
    with pytest.raises(ValueError, match="frequencies|symbols"):
        code_lengths(np.array(frequencies))


def test_padding_is_part_of_the_stream():
    symbols = np.array([0, 1, 2, 0, 0])
    code = HuffmanCode.fit(np.bincount(symbols))
    stream = encode(symbols, code)
    assert total_bits(np.bincount(symbols), code.lengths) == 7 and len(stream) == 3
    with pytest.raises(ValueError, match="damaged"):
        decode(stream[:2] + bytes([stream[2] | 0x80]), code, 5)


@given(st.integers(0, 10**6), st.integers(0, 255), st.integers(-3, 3))
def test_a_damaged_stream_is_refused_or_is_another_valid_stream(position, byte, cut):
    symbols = np.random.default_rng(1).geometric(0.3, 5000).clip(max=20)
    code = HuffmanCode.fit(np.bincount(symbols))
    stream = bytearray(encode(symbols, code))
    stream[position % len(stream)] ^= byte
    stream = bytes(stream[: len(stream) + min(cut, 0)] + b"\0" * max(cut, 0))
    try:
        symbols = decode(stream, code, 5000)
    except ValueError as error:
        assert "damaged" in str(error)
    else:
        assert encode(symbols, code) == stream             # nothing but the one way to write these symbols is accepted
