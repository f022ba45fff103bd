"""The native Huffman coder against the readable numpy one of qtoolkit.compression: same bytes, same symbols, same refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit.compression import huffman
from qtoolkit.kernels import entropy


def fitted(symbols: np.ndarray, alphabet: int) -> tuple[huffman.HuffmanCode, torch.Tensor]:
    code = huffman.HuffmanCode.fit(np.bincount(symbols, minlength=alphabet))
    return code, torch.from_numpy(code.lengths)


def sample(seed: int, count: int, alphabet: int, skew: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(skew, count) - 1, alphabet - 1).astype(np.int16)


@given(seed=st.integers(0, 10**6), count=st.one_of(st.integers(1, 200), st.integers(4000, 40000)), alphabet=st.integers(1, 4096),
       skew=st.sampled_from([0.9, 0.5, 0.1, 0.003]))
def test_both_coders_write_and_read_the_same(seed, count, alphabet, skew):
    symbols = sample(seed, count, alphabet, skew)
    code, lengths = fitted(symbols, alphabet)
    stream = entropy.huffman_encode(torch.from_numpy(symbols), lengths)
    assert stream.numpy().tobytes() == huffman.encode(symbols, code)
    assert np.array_equal(entropy.huffman_decode(stream, lengths, count).numpy(), symbols)


def test_the_longest_codewords_and_several_threads():
    fibonacci = np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584])
    symbols = np.random.default_rng(0).permutation(np.repeat(np.arange(len(fibonacci)), fibonacci * 40)).astype(np.int16)
    code, lengths = fitted(symbols, len(fibonacci))
    assert lengths.max() == 15
    stream = torch.frombuffer(bytearray(huffman.encode(symbols, code)), dtype=torch.uint8)
    before = torch.get_num_threads()
    for threads in (1, 4):
        torch.set_num_threads(threads)
        assert np.array_equal(entropy.huffman_decode(stream, lengths, len(symbols)).numpy(), symbols)
    torch.set_num_threads(before)


@given(data=st.data())
def test_damaged_streams_are_refused_exactly_when_the_reference_refuses(data):
    symbols = sample(1, data.draw(st.sampled_from([5, 300, 20000])), 40, 0.2)
    code, lengths = fitted(symbols, 40)
    stream = bytearray(huffman.encode(symbols, code))
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    stream = stream[: data.draw(st.one_of(st.just(len(stream)), st.integers(1, len(stream))))]
    count = data.draw(st.sampled_from([len(symbols), len(symbols) - 1, len(symbols) + 1, 0]))
    try:
        expected = huffman.decode(bytes(stream), code, count)
    except ValueError:
        with pytest.raises(ValueError):
            entropy.huffman_decode(torch.frombuffer(stream, dtype=torch.uint8), lengths, count)
    else:
        assert np.array_equal(entropy.huffman_decode(torch.frombuffer(stream, dtype=torch.uint8), lengths, count).numpy(), expected)


@given(lengths=st.lists(st.integers(0, 20), min_size=0, max_size=40), stream=st.binary(max_size=60), count=st.integers(0, 99))
def test_any_lengths_and_bytes_are_answered_or_refused(lengths, stream, count):
    lengths = torch.tensor(lengths, dtype=torch.uint8)
    for call in (lambda: entropy.huffman_decode(torch.tensor(list(stream), dtype=torch.uint8), lengths, count),
                 lambda: entropy.huffman_encode(torch.arange(count, dtype=torch.int16) - 3, lengths)):
        try:
            call()
        except ValueError:
            pass


def test_no_symbols_and_one_repeated_symbol():
    lengths = torch.tensor([0, 1], dtype=torch.uint8)
    empty = entropy.huffman_encode(torch.zeros(0, dtype=torch.int16), lengths)
    assert empty.numel() == 0 and entropy.huffman_decode(empty, lengths, 0).numel() == 0
    stream = entropy.huffman_encode(torch.ones(9, dtype=torch.int16), lengths)
    assert entropy.huffman_decode(stream, lengths, 9).tolist() == [1] * 9
    stream[-1] = 2
    with pytest.raises(ValueError, match="damaged"):
        entropy.huffman_decode(stream, lengths, 9)


def test_wrong_types_and_codes_are_named():
    lengths, stream = torch.tensor([1, 1], dtype=torch.uint8), torch.zeros(4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="int16"):
        entropy.huffman_encode(torch.zeros(3), lengths)
    with pytest.raises(ValueError, match="uint8"):
        entropy.huffman_decode(stream, lengths.int(), 3)
    with pytest.raises(ValueError, match="cannot hold"):
        entropy.huffman_decode(stream, lengths, 1000)
    with pytest.raises(ValueError, match="complete"):
        entropy.huffman_decode(stream, torch.tensor([1, 2], dtype=torch.uint8), 3)
    with pytest.raises(ValueError, match="no codeword"):
        entropy.huffman_encode(torch.tensor([5], dtype=torch.int16), lengths)


def test_opcheck():
    lengths = torch.tensor([1, 2, 2], dtype=torch.uint8)
    stream = entropy.huffman_encode(torch.tensor([0, 1, 2, 0], dtype=torch.int16), lengths)
    torch.library.opcheck(entropy.huffman_decode, (stream, lengths, 4))
    torch.library.opcheck(entropy.huffman_encode, (torch.tensor([0, 1, 2, 0], dtype=torch.int16), lengths))
