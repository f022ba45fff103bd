"""The text set of the course: 96 pairs of English sentences that say the same thing in other words, written for it."""

from functools import cache
from pathlib import Path

PAIRS = Path(__file__).resolve().parent / "sentences.tsv"


@cache
def sentence_pairs() -> tuple[tuple[str, str], ...]:
    """Pairs of sentences of the same meaning, many on neighboring subjects: who finds each partner has understood something.

    >>> len(sentence_pairs())
    96
    """
    lines = PAIRS.read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("\t")) for line in lines)


def sentences(count: int | None = None) -> list[str]:
    """The first `count` sentences of the text set, all 192 without a count: first halves of the pairs, then second halves.

    Raises ValueError for a count that is not from 1 to 192.

    >>> sentences(1)
    ['The train to the coast leaves at half past seven.']
    """
    first, second = zip(*sentence_pairs())
    every = [*first, *second]
    if count is not None and (not isinstance(count, int) or not 1 <= count <= len(every)):
        raise ValueError(f"count is {count!r}, expected an integer from 1 to {len(every)}")
    return every[:count]
