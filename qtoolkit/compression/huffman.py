"""Huffman coding of small integers: lengths from frequencies, canonical codes, encode, decode (Deep Compression, stage 3).

A code is known from its *lengths* alone. Canonical codewords count upwards, shorter ones first, equal lengths by symbol, so
a file sends 4 bits a symbol and no tree. Lengths are at most 15 (`MAX_LENGTH`): half a byte each, and a decoding table of
at most 2^15 entries. The limit costs nothing unless the rarest symbol has a share below about 1/1000 (a Fibonacci-like
spread); then `code_lengths` finds the best code within the limit by package-merge, and `total_bits` tells the price.

Layout of a coded stream, all little-endian, for this numpy reference and for any native decoder:

    the symbols are cut into lanes of 4096 (the last may be shorter); lanes are coded independently
    u16 x lanes     bytes of each lane
    lanes           one after another, each starting on a byte; bits fill a byte from bit 0 upwards, a codeword's first
                    bit first; the last byte of a lane is padded with 0 bits

Independent lanes are what makes decoding fast: a native loop keeps six in flight, numpy decodes all of them in step.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

MAX_LENGTH = 15
MAX_SYMBOLS = 4096
LANE = 4096
_LANES_AT_ONCE = 128


@dataclass(frozen=True)
class Merge:
    """One step of Huffman's algorithm: the two lightest nodes become one. Leaves are symbols, node n + k is the k-th merge."""

    left: int
    right: int
    node: int
    weight: int


def merges(frequencies: np.ndarray) -> list[Merge]:
    """Huffman's algorithm, step by step, over the symbols whose frequency is not 0 (Huffman 1952).

    See: book/chapters/18-huffman-coding.ipynb#prefix-codes-and-the-tree

    >>> merges(np.array([5, 1, 0, 2]))
    [Merge(left=1, right=3, node=4, weight=3), Merge(left=4, right=0, node=5, weight=8)]
    """
    counts = _frequencies(frequencies)
    heap = [(int(count), symbol) for symbol, count in enumerate(counts) if count]
    heapq.heapify(heap)
    steps: list[Merge] = []
    while len(heap) > 1:
        (light, left), (heavy, right) = heapq.heappop(heap), heapq.heappop(heap)
        steps.append(Merge(left, right, len(counts) + len(steps), light + heavy))
        heapq.heappush(heap, (light + heavy, steps[-1].node))
    return steps


def code_lengths(frequencies: np.ndarray, limit: int = MAX_LENGTH) -> np.ndarray:
    """Codeword lengths of an optimal code with no codeword longer than `limit`; 0 for a symbol that does not occur.

    Minimizes sum_s f_s l_s subject to sum_s 2^-l_s <= 1 and l_s <= limit. One lone symbol gets length 1. Returns uint8.
    Raises ValueError for negative frequencies, more than 4096 symbols, or more symbols than `limit` bits can tell apart.

    See: book/chapters/18-huffman-coding.ipynb#prefix-codes-and-the-tree

    >>> code_lengths(np.array([5, 1, 0, 2]))
    array([1, 2, 0, 2], dtype=uint8)
    """
    counts = _frequencies(frequencies)
    used = int((counts > 0).sum())
    if not 1 <= limit <= MAX_LENGTH or used > 1 << limit:
        raise ValueError(f"limit is {limit} with {used} symbols in use, expected 1 to {MAX_LENGTH} and at least log2 of the symbols")
    lengths = np.zeros(len(counts) + max(used - 1, 0), dtype=np.int64)
    if used == 1:
        lengths[counts > 0] = 1
    for step in reversed(merges(counts)):
        lengths[[step.left, step.right]] = lengths[step.node] + 1
    lengths = lengths[: len(counts)]
    return (lengths if lengths.max(initial=0) <= limit else _package_merge(counts, limit)).astype(np.uint8)


def _package_merge(counts: np.ndarray, limit: int) -> np.ndarray:
    """Best lengths within `limit` (Larmore and Hirschberg 1990): buy the cheapest 2n - 2 coins, `limit` denominations."""
    coins = sorted((int(count), (symbol,)) for symbol, count in enumerate(counts) if count)
    row = coins
    for _ in range(limit - 1):
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(row[::2], row[1::2])]
        row = sorted(coins + packages, key=lambda coin: coin[0])
    bought = [symbol for _, symbols in row[: 2 * len(coins) - 2] for symbol in symbols]
    return np.bincount(bought, minlength=len(counts))


def _frequencies(frequencies: np.ndarray) -> np.ndarray:
    counts = np.asarray(frequencies)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise ValueError(f"frequencies are {counts.dtype} of shape {counts.shape}, expected a list of counts (integers, none negative)")
    if counts.size > MAX_SYMBOLS:
        raise ValueError(f"there are {counts.size} symbols, expected at most {MAX_SYMBOLS}; use codes of 12 bits or fewer")
    return counts


def total_bits(frequencies: np.ndarray, lengths: np.ndarray) -> int:
    """Bits that the symbols take: sum_s f_s l_s (without the table and the padding of lanes).

    See: book/chapters/18-huffman-coding.ipynb#prefix-codes-and-the-tree
    """
    return int(np.dot(_frequencies(frequencies).astype(np.int64), np.asarray(lengths, dtype=np.int64)))


def entropy(frequencies: np.ndarray) -> float:
    """Shannon's bound in bits a symbol: H = -sum_s p_s log2 p_s. Any Huffman code has H <= mean length < H + 1.

    See: book/chapters/18-huffman-coding.ipynb#entropy-the-floor

    >>> entropy(np.array([2, 1, 1]))
    1.5
    """
    counts = _frequencies(frequencies)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log2(share)).sum()) + 0.0


@dataclass(frozen=True)
class HuffmanCode:
    """A canonical prefix code, given by its codeword lengths (0 = symbol not in use).

    Raises ValueError unless the lengths form a complete code (sum of 2^-length is 1) or a lone codeword of length 1.

    See: book/chapters/18-huffman-coding.ipynb#only-the-lengths-are-stored

    >>> HuffmanCode.fit(np.array([5, 1, 0, 2])).words()
    {0: '0', 1: '10', 3: '11'}
    """

    lengths: np.ndarray

    def __post_init__(self):
        used = self.lengths[self.lengths > 0].astype(np.int64)
        if used.size == 0 or used.max() > MAX_LENGTH or self.lengths.size > MAX_SYMBOLS:
            raise ValueError(f"code lengths are {np.unique(used).tolist()} for {self.lengths.size} symbols, "
                             f"expected some, none above {MAX_LENGTH}, for at most {MAX_SYMBOLS} symbols")
        share = (1 << (MAX_LENGTH - used)).sum()
        if share != 1 << MAX_LENGTH and not (used.size == 1 and used[0] == 1):
            raise ValueError(f"code lengths use {share / 2**MAX_LENGTH:.5f} of all codewords, expected 1 (a complete prefix code)")

    @classmethod
    def fit(cls, frequencies: np.ndarray, limit: int = MAX_LENGTH) -> "HuffmanCode":
        """The optimal code for these frequencies."""
        return cls(code_lengths(frequencies, limit))

    @cached_property
    def codewords(self) -> np.ndarray:
        """Canonical codewords, first bit in the highest place, uint32 by symbol (as in RFC 1951, section 3.2.2)."""
        order = np.lexsort((np.arange(len(self.lengths)), self.lengths))
        order = order[self.lengths[order] > 0]
        span = 1 << (MAX_LENGTH - self.lengths[order].astype(np.int64))
        words = np.zeros(len(self.lengths), dtype=np.uint32)
        words[order] = (np.cumsum(span) - span) >> (MAX_LENGTH - self.lengths[order].astype(np.int64))
        return words

    def words(self) -> dict[int, str]:
        """The codewords as strings of 0 and 1."""
        return {int(s): f"{self.codewords[s]:0{self.lengths[s]}b}" for s in np.flatnonzero(self.lengths)}

    @cached_property
    def _reversed(self) -> np.ndarray:
        """Codewords with their first bit in the lowest place, as they enter the stream."""
        flipped = np.zeros_like(self.codewords)
        for bit in range(MAX_LENGTH):
            flipped |= ((self.codewords >> bit) & 1) << np.maximum(self.lengths.astype(np.int64) - 1 - bit, 0).astype(np.uint32)
        return flipped

    @cached_property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Symbol and length for every window of max(lengths) bits: whatever follows a codeword, the window names it."""
        longest = int(self.lengths.max())
        symbols, lengths = np.zeros(1 << longest, dtype=np.uint16), np.zeros(1 << longest, dtype=np.int64)
        for symbol in np.flatnonzero(self.lengths):
            windows = slice(int(self._reversed[symbol]), None, 1 << int(self.lengths[symbol]))
            symbols[windows], lengths[windows] = symbol, self.lengths[symbol]
        return symbols, lengths


def encode(symbols: np.ndarray | Tensor, code: HuffmanCode) -> bytes:
    """Code `symbols` (integers) into the lane layout of this module.

    Raises ValueError for a symbol that the code does not have.

    See: book/chapters/18-huffman-coding.ipynb#encoding-and-decoding

    >>> data = np.array([0, 0, 3, 0, 1, 0])
    >>> decode(encode(data, HuffmanCode.fit(np.bincount(data))), HuffmanCode.fit(np.bincount(data)), 6)
    array([0, 0, 3, 0, 1, 0], dtype=uint16)
    """
    flat = _symbols(symbols)
    if flat.size and (flat.min() < 0 or flat.max() >= len(code.lengths) or (code.lengths[flat] == 0).any()):
        raise ValueError(f"symbols span {flat.min()}..{flat.max()} and one of them has no codeword; fit the code on their frequencies")
    step = LANE * _LANES_AT_ONCE
    parts = [_encode_lanes(flat[i : i + step], code) for i in range(0, flat.size, step)]
    return b"".join([sizes.astype("<u2").tobytes() for sizes, _ in parts] + [data for _, data in parts])


def _symbols(symbols: np.ndarray | Tensor) -> np.ndarray:
    flat = np.asarray(symbols.numpy() if isinstance(symbols, Tensor) else symbols).reshape(-1)
    if flat.dtype.kind not in "iu":
        raise TypeError(f"symbols have dtype {flat.dtype}, expected integers")
    return flat


def _encode_lanes(symbols: np.ndarray, code: HuffmanCode) -> tuple[np.ndarray, bytes]:
    """Bytes of each lane, and the lanes' bytes. A 64-bit word gathers all codewords that start in its lower half."""
    lengths = code.lengths[symbols].astype(np.int64)
    ends = np.cumsum(lengths)
    first = np.arange(0, symbols.size, LANE)
    lane_bits = np.add.reduceat(lengths, first)
    sizes = (lane_bits + 7) // 8
    shift = 8 * (np.cumsum(sizes) - sizes) - (np.cumsum(lane_bits) - lane_bits)     # padding before each lane
    start = ends - lengths + np.repeat(shift, np.diff(np.append(first, symbols.size)))
    word = start >> 5
    change = np.flatnonzero(np.diff(word, prepend=-1))
    gathered = np.bitwise_or.reduceat(code._reversed[symbols].astype(np.uint64) << (start & 31).astype(np.uint64), change)
    words = np.zeros(int(word[-1]) + 2, dtype="<u4")
    words[word[change]] = gathered & 0xFFFFFFFF
    words[word[change] + 1] |= (gathered >> 32).astype(np.uint32)
    return sizes, words.tobytes()[: int(sizes.sum())]


def decode(data: bytes, code: HuffmanCode, count: int) -> np.ndarray:
    """The `count` symbols of a coded stream, uint16. All lanes advance together, one table look-up a symbol.

    Raises ValueError unless `data` is exactly what `encode` writes for some `count` symbols: sizes that fit, codewords that
    exist, zero padding. Allocates about 2 bytes a symbol, and no stream can claim more than 8 symbols a byte.

    See: book/chapters/18-huffman-coding.ipynb#encoding-and-decoding
    """
    sizes, body = _split_lanes(data, count)
    if count and (code.lengths > 0).sum() == 1 and any(body):
        raise ValueError("a stream of one repeated symbol holds a 1 bit; the data are damaged")
    lanes = np.full(len(sizes), LANE)
    lanes[-1:] = count - LANE * (len(sizes) - 1)
    begin = 8 * (np.cumsum(sizes) - sizes)
    symbols, ends = _walk(body, code, begin, lanes)
    if count and not ((ends + 7 >> 3 == np.cumsum(sizes)).all() and _padding_is_zero(body, ends)):
        raise ValueError("a lane does not end where its size says; the data are damaged")
    return symbols


def _split_lanes(data: bytes, count: int) -> tuple[np.ndarray, memoryview]:
    lanes = -(-count // LANE)
    if count < 0 or count > 8 * len(data) or len(data) < 2 * lanes:
        raise ValueError(f"{len(data)} bytes cannot hold {count} symbols; the data are damaged or cut short")
    sizes = np.frombuffer(data, "<u2", lanes).astype(np.int64)
    if sizes.sum() != len(data) - 2 * lanes:
        raise ValueError(f"lanes claim {sizes.sum()} bytes, found {len(data) - 2 * lanes}; the data are damaged or cut short")
    return sizes, memoryview(data)[2 * lanes :]


def _walk(body: memoryview, code: HuffmanCode, bit: np.ndarray, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode every lane from its first `bit`; returns the symbols, lane after lane, and the bit after each lane."""
    padded = np.zeros(len(body) + LANE * MAX_LENGTH // 8 + 8, dtype=np.uint8)       # room for a damaged lane to run on
    padded[: len(body)] = body
    windows = np.ndarray(len(padded) - 3, "<u4", padded, strides=(1,))              # the 32 bits at every byte
    (table_symbols, table_lengths), mask = code.table, (1 << int(code.lengths.max())) - 1
    out = np.empty((int(lanes.max(initial=0)), len(lanes)), dtype=np.uint16)
    bit, active = bit.copy(), len(lanes)
    for step in range(len(out)):
        active -= int(step == lanes[-1])                                            # only the last lane may be shorter
        here = bit[:active]
        window = windows[here >> 3].astype(np.int64) >> (here & 7) & mask
        out[step, :active] = table_symbols[window]
        here += table_lengths[window]
    full, rest = out[:, : len(lanes) - 1], out[: int(lanes[-1]) if len(lanes) else 0, len(lanes) - 1 :]
    return np.concatenate([full.T.reshape(-1), rest.reshape(-1)]), bit


def _padding_is_zero(body: memoryview, ends: np.ndarray) -> bool:
    last = np.frombuffer(body, np.uint8)[(ends - 1) >> 3].astype(np.int64)
    used = (ends - 1 & 7) + 1
    return not (last >> used).any()


def trace(data: bytes, code: HuffmanCode, count: int) -> Iterator[tuple[int, str, int]]:
    """Decode the first lane bit by bit, as a reader would by hand: (bit position, codeword, symbol) for `count` symbols.

    See: book/chapters/18-huffman-coding.ipynb#encoding-and-decoding

    >>> code = HuffmanCode.fit(np.array([5, 1, 0, 2]))
    >>> list(trace(encode(np.array([3, 0, 1]), code), code, 3))
    [(0, '11', 3), (2, '0', 0), (3, '10', 1)]
    """
    sizes, body = _split_lanes(data, count)
    bits = "".join(f"{byte:08b}"[::-1] for byte in body)
    by_word, position = {word: symbol for symbol, word in code.words().items()}, 0
    for _ in range(min(count, LANE)):
        end = next(e for e in range(position + 1, len(bits) + 1) if bits[position:e] in by_word)
        yield position, bits[position:end], by_word[bits[position:end]]
        position = end
