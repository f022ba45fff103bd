"""Huffman's algorithm step by step: the two lightest become one."""

import traitlets

from qtoolkit.lab.widgets.base import Widget, synced

MOST = 12  # symbols that fit a phone


class HuffmanTree(Widget):
    """A Huffman tree that grows by one merge a step; controls: merges made, which frequencies.

    sources: {name: counts, one a symbol, all above 0}; symbols: what the leaves are called; name: what is counted; at: merges made at
    first. Raises ValueError for fewer than 2 or more than 12 symbols, counts that are not positive integers or not one a symbol, and
    for a start that no control can reach.
    """

    module = "huffman_tree.js"
    sources = synced(traitlets.List())
    counts = synced(traitlets.List())
    symbols = synced(traitlets.List())
    name = synced(traitlets.Unicode())
    at = synced(traitlets.Int())

    def __init__(self, sources: dict[str, list[int]], symbols: list[str], name: str = "symbols", at: int = 0):
        if not 2 <= len(symbols) <= MOST or at not in range(len(symbols)):
            raise ValueError(f"given {len(symbols)} symbols and at={at}; expected 2 to {MOST} symbols and fewer merges than symbols")
        for label, counts in sources.items():
            if len(counts) != len(symbols) or any(int(count) != count or count < 1 for count in counts):
                raise ValueError(f"'{label}' counts {list(counts)}, expected {len(symbols)} positive integers, one a symbol")
        if not sources:
            raise ValueError("sources is empty, expected at least one list of counts")
        super().__init__(sources=list(sources), counts=[[int(c) for c in counts] for counts in sources.values()],
                         symbols=list(symbols), name=name, at=at)
