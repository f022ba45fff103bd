"""Adaptive binary arithmetic coding with mixed contexts, in integers only: beyond Huffman (section type CONTEXT).

Huffman spends a whole number of bits a symbol and must send its table. Here a *predictor* guesses each bit from several
contexts, learns from every answer, and an arithmetic coder turns guess p into -log2 p bits, fractions included. Encoder and
decoder run the same predictor over the same past, so nothing is sent but the bits. All arithmetic is on integers (logistic
functions come from a table made of exact decimal arithmetic), so a file decodes identically on every machine.

Source: Witten, Neal, Cleary 1987 (the coder); Mahoney 2005, "Adaptive weighing of context models" (logistic mixing).
"""

from bisect import bisect_left
from decimal import Decimal, localcontext
from typing import Protocol

ONE = 1 << 16                       # probabilities are 16-bit fractions
_LIMIT = 10 * 256 - 1               # largest stretched probability, in 1/256
_COUNT_LIMIT, _FIRST_WEIGHT, _RATE = 400, 18_000, 5


def _logistic_table() -> list[int]:
    """squash(d) = 2^16 / (1 + exp(-d / 256)) for d = -_LIMIT .. _LIMIT, from correctly rounded decimal arithmetic."""
    with localcontext(prec=30):
        step, value, upper = (Decimal(-1) / 256).exp(), Decimal(1), []
        for _ in range(_LIMIT + 1):
            upper.append(int(ONE / (1 + value)))
            value *= step
    return [ONE - p for p in reversed(upper[1:])] + upper


SQUASH = _logistic_table()
_STRETCH = [min(bisect_left(SQUASH, 16 * p + 8), 2 * _LIMIT) - _LIMIT for p in range(ONE // 16)]
_RECIPROCAL = [2 * ONE // (2 * n + 3) for n in range(_COUNT_LIMIT + 1)]


class Coder(Protocol):
    """Encoder and Decoder share one verb, so that one walk through the data serves both."""

    def code(self, bit: int, p: int) -> int:
        """Code one bit whose probability of being 1 is p / 2^16 (0 < p < 2^16); returns the bit."""


class Encoder:
    """Narrows the interval [low, high] to the part of each bit; bytes leave when both ends agree on them.

    See: book/chapters/18-huffman-coding.ipynb#beyond-huffman

    >>> encoder = Encoder()
    >>> for bit in (1, 1, 0, 1): _ = encoder.code(bit, p=60_000)
    >>> decoder = Decoder(encoder.finish())
    >>> [decoder.code(0, p=60_000) for _ in range(4)]
    [1, 1, 0, 1]
    """

    def __init__(self):
        self.low, self.high, self.out = 0, 0xFFFFFFFF, bytearray()

    def code(self, bit: int, p: int) -> int:
        middle = self.low + ((self.high - self.low) * p >> 16)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while (self.low ^ self.high) >> 24 == 0:
            self.out.append(self.high >> 24)
            self.low, self.high = (self.low << 8) & 0xFFFFFFFF, (self.high << 8) & 0xFFFFFFFF | 0xFF
        return bit

    def finish(self) -> bytes:
        """The coded bytes."""
        return bytes(self.out) + _shortest_within(self.low, self.high)


def _shortest_within(low: int, high: int) -> bytes:
    """The fewest bytes that name a number in [low, high]; a decoder reads 0 beyond the end."""
    for kept in range(5):
        unit = 1 << (32 - 8 * kept)
        number = (low + unit - 1) // unit * unit
        if number <= high:
            return number.to_bytes(5, "big")[1 : 1 + kept]
    raise AssertionError("an interval holds its own lower end")


class Decoder:
    """Follows the encoder's interval. Raises ValueError when it needs more than the stream holds.

    See: book/chapters/18-huffman-coding.ipynb#beyond-huffman
    """

    def __init__(self, data: bytes):
        self.low, self.high, self.data, self.at = 0, 0xFFFFFFFF, data, 4
        self.number = int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def code(self, bit: int, p: int) -> int:
        middle = self.low + ((self.high - self.low) * p >> 16)
        bit = int(self.number <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while (self.low ^ self.high) >> 24 == 0:
            self.low, self.high = (self.low << 8) & 0xFFFFFFFF, (self.high << 8) & 0xFFFFFFFF | 0xFF
            self.number = (self.number << 8) & 0xFFFFFFFF | self._next()
        return bit

    def _next(self) -> int:
        self.at += 1
        if self.at > len(self.data) + 4:
            raise ValueError("the coded stream is used up before its data are complete; it is damaged or cut short")
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def finish(self) -> None:
        """Raises ValueError unless the stream ends as the encoder would have ended it."""
        if self.at - 4 > len(self.data) or self.data[self.at - 4 :] != _shortest_within(self.low, self.high):
            raise ValueError("the coded stream does not end with its data; it is damaged or cut short")


class Mixer:
    """Predicts one kind of bit from several contexts at once.

    Each context i holds an adaptive probability p_i (the mean of the bits seen there, old ones fading). They are mixed in the
    logistic domain, p = squash(sum_i w_i stretch(p_i)), and the weights follow the gradient of the coding cost:
    w_i += rate * stretch(p_i) * (bit - p). One set of weights for each value of `select`.

    See: book/chapters/18-huffman-coding.ipynb#beyond-huffman

    >>> mixer, encoder = Mixer(inputs=2), Encoder()
    >>> for i in range(800): _ = mixer.code(encoder, int(i % 4 == 0), (i % 4, i % 3))
    >>> len(encoder.finish()) < 12                      # 800 bits with a pattern that the first context knows
    True
    """

    def __init__(self, inputs: int):
        self.cells: list[dict[int, list[int]]] = [{} for _ in range(inputs)]
        self.weights: dict[int, list[int]] = {}

    def code(self, coder: Coder, bit: int, contexts: tuple[int, ...], select: int = 0) -> int:
        """Predict, code and learn one bit; returns it. `contexts` has one number for each input."""
        cells = [table.setdefault(context, [ONE // 2, 0]) for table, context in zip(self.cells, contexts)]
        stretched = [_STRETCH[cell[0] >> 4] for cell in cells]
        weights = self.weights.setdefault(select, [_FIRST_WEIGHT] * len(cells))
        dot = sum([w * s for w, s in zip(weights, stretched)]) >> 16
        p = SQUASH[max(-_LIMIT, min(_LIMIT, dot)) + _LIMIT]
        bit = coder.code(bit, p)
        target = (ONE - 1) * bit
        error = ((bit << 16) - p) * _RATE
        weights[:] = [w + (s * error + (1 << 17) >> 18) for w, s in zip(weights, stretched)]
        for cell in cells:
            cell[0] += (target - cell[0]) * _RECIPROCAL[cell[1]] >> 16
            cell[1] += cell[1] < _COUNT_LIMIT
        return bit
