"""The native coders against the readable ones of qtoolkit.compression: same bytes, same symbols, same refusals."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit import kernels
from qtoolkit.compression import context, huffman
from qtoolkit.kernels import entropy

every_isa = pytest.mark.parametrize("isa", kernels.info()["isas_available"] or [None])


def use(isa: str | None):
    """This set of instructions; without compiled kernels, the portable coder."""
    return kernels.use_isa(isa) if isa else nullcontext()


def fitted(symbols: np.ndarray, alphabet: int) -> tuple[huffman.HuffmanCode, torch.Tensor]:
    code = huffman.HuffmanCode.fit(np.bincount(symbols, minlength=alphabet))
    return code, torch.from_numpy(code.lengths)


def sample(seed: int, count: int, alphabet: int, skew: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(skew, count) - 1, alphabet - 1).astype(np.int16)


@every_isa
@given(seed=st.integers(0, 10**6), count=st.one_of(st.integers(1, 200), st.integers(4000, 64000)), alphabet=st.integers(1, 4096),
       skew=st.sampled_from([0.9, 0.5, 0.1, 0.003]))
def test_both_coders_write_and_read_the_same(isa, seed, count, alphabet, skew):
    symbols = sample(seed, count, alphabet, skew)
    code, lengths = fitted(symbols, alphabet)
    stream = entropy.huffman_encode(torch.from_numpy(symbols), lengths)
    assert stream.numpy().tobytes() == huffman.encode(symbols, code)
    with use(isa):
        assert np.array_equal(entropy.huffman_decode(stream, lengths, count).numpy(), symbols)


@every_isa
def test_the_longest_codewords_and_several_threads(isa):
    fibonacci = np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584])
    symbols = np.random.default_rng(0).permutation(np.repeat(np.arange(len(fibonacci)), fibonacci * 40)).astype(np.int16)
    code, lengths = fitted(symbols, len(fibonacci))
    assert lengths.max() == 15
    stream = torch.frombuffer(bytearray(huffman.encode(symbols, code)), dtype=torch.uint8)
    before = torch.get_num_threads()
    for threads in (1, 4):
        torch.set_num_threads(threads)
        with use(isa):
            assert np.array_equal(entropy.huffman_decode(stream, lengths, len(symbols)).numpy(), symbols)
    torch.set_num_threads(before)


@every_isa
@given(data=st.data())
def test_damaged_streams_are_refused_exactly_when_the_reference_refuses(isa, data):
    symbols = sample(1, data.draw(st.sampled_from([5, 300, 20000, 30000])), 40, 0.2)
    code, lengths = fitted(symbols, 40)
    stream = bytearray(huffman.encode(symbols, code))
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    stream = stream[: data.draw(st.one_of(st.just(len(stream)), st.integers(1, len(stream))))]
    count = data.draw(st.sampled_from([len(symbols), len(symbols) - 1, len(symbols) + 1, 0]))
    damaged = torch.frombuffer(stream, dtype=torch.uint8)
    try:
        expected = huffman.decode(bytes(stream), code, count)
    except ValueError:
        with use(isa), pytest.raises(ValueError):
            entropy.huffman_decode(damaged, lengths, count)
    else:
        with use(isa):
            assert np.array_equal(entropy.huffman_decode(damaged, lengths, count).numpy(), expected)


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
    codes = torch.tensor([[0, 1, 0], [3, 0, 2]], dtype=torch.int32)
    torch.library.opcheck(entropy.context_encode, (codes, 2, 0))
    torch.library.opcheck(entropy.context_decode, (entropy.context_encode(codes, 2, 0), 2, 3, 2, 0))


def pruned_codes(seed: int, rows: int, columns: int, width: int, density: float) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    kept = rng.random((rows, columns)) < density * 2 * rng.random((1, columns))
    return torch.from_numpy((rng.integers(1, 1 << width, (rows, columns)) * kept).astype(np.int32))


@given(seed=st.integers(0, 10**6), rows=st.integers(0, 40), columns=st.integers(0, 60), width=st.sampled_from([1, 2, 3, 8, 16]),
       neighbor=st.sampled_from([0, 1, 7, 59, 10**6]), density=st.sampled_from([0.02, 0.3, 1.0]))
def test_codes_by_context_are_the_same_bytes_in_both(seed, rows, columns, width, neighbor, density):
    codes = pruned_codes(seed, rows, columns, width, density)
    stream = entropy.context_encode(codes, width, neighbor)
    assert stream.numpy().tobytes() == context.encode_portably(codes, width, neighbor)
    assert torch.equal(entropy.context_decode(stream, rows, columns, width, neighbor), codes)
    assert torch.equal(context.decode_portably(stream.numpy().tobytes(), rows, columns, width, neighbor), codes)


def test_counts_that_no_longer_grow_and_streams_longer_than_expected():
    """More bits in one context than it counts; and codes without a pattern, whose stream is longer than the buffer guessed."""
    codes = torch.zeros(500, 40, dtype=torch.int32)
    codes[::50, 3] = torch.arange(1, 11, dtype=torch.int32)
    assert entropy.context_encode(codes, 4, 0).numpy().tobytes() == context.encode_portably(codes, 4, 0)
    random = pruned_codes(0, 30, 40, 16, 1.0)
    stream = entropy.context_encode(random, 16, 0)
    assert stream.numel() > random.numel() and stream.numpy().tobytes() == context.encode_portably(random, 16, 0)


@given(data=st.data())
def test_damaged_contexts_are_refused_exactly_when_the_reference_refuses(data):
    codes = pruned_codes(3, 30, 40, 2, 0.1)
    stream = bytearray(context.encode_portably(codes, 2, 5))
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    stream = stream[: data.draw(st.one_of(st.just(len(stream)), st.integers(1, len(stream))))] + data.draw(st.binary(max_size=6))
    rows, width = data.draw(st.sampled_from([(30, 2), (31, 2), (29, 2), (0, 2), (30, 3)]))
    try:
        expected = context.decode_portably(bytes(stream), rows, 40, width, 5)
    except ValueError:
        with pytest.raises(ValueError, match="damaged"):
            entropy.context_decode(torch.frombuffer(stream, dtype=torch.uint8), rows, 40, width, 5)
    else:
        assert torch.equal(entropy.context_decode(torch.frombuffer(stream, dtype=torch.uint8), rows, 40, width, 5), expected)


def test_more_contexts_than_the_format_allows_are_refused_by_both(monkeypatch):
    codes = torch.from_numpy(np.random.default_rng(0).integers(1, 1 << 16, (1200, 1200)).astype(np.int32))
    if entropy.library is not None:  # in Python it takes minutes
        with pytest.raises(ValueError, match="too large"):
            entropy.context_encode(codes, 16, 0)
    monkeypatch.setattr(context, "MAX_CONTEXTS", 1000)
    with pytest.raises(ValueError, match="too large"):
        context.encode_portably(codes[:40], 16, 0)


def test_codes_by_context_say_what_they_expect():
    codes, stream = torch.zeros(2, 3, dtype=torch.int32), torch.zeros(1, dtype=torch.uint8)
    for call, said in ((lambda: entropy.context_encode(codes.long(), 2, 0), "int64.*expected int32"),
                       (lambda: entropy.context_encode(codes + 4, 2, 0), "from 4 to 4, expected codes of 2 bits"),
                       (lambda: entropy.context_encode(codes, 17, 0), "width is 17"),
                       (lambda: entropy.context_decode(stream.int(), 2, 3, 2, 0), "expected 1-D uint8"),
                       (lambda: entropy.context_decode(stream, 1 << 13, 1 << 12, 2, 0), "too large"),
                       (lambda: entropy.context_decode(stream, -1, 3, 2, 0), "too large")):
        with pytest.raises(ValueError, match=said):
            call()
