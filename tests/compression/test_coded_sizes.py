"""Bits of both streams in every layer of a compressed LeNet, against bitarray's optimal code and Shannon's bounds."""

import bitarray.util
import numpy as np
import pytest

from qtoolkit.compression import container, sections
from qtoolkit.compression.bodies import Budget
from qtoolkit.compression.huffman import LANE, code_lengths, entropy, total_bits
from qtoolkit.compression.pipeline import compress, paper_recipe
from qtoolkit.lab.models import trained


def _optimal_bits(counts: np.ndarray) -> int:
    code = bitarray.util.huffman_code({symbol: int(count) for symbol, count in enumerate(counts) if count})
    return sum(len(word) * int(counts[symbol]) for symbol, word in code.items())


@pytest.mark.parametrize("network", ["lenet-300-100", "lenet-5"])
def test_every_stream_of_a_lenet_is_as_short_as_an_optimal_coder_makes_it(tmp_path, network):
    model = trained(network)
    report = compress(model, tmp_path / "net", paper_recipe(network, model))
    content = container.read(tmp_path / "net")
    layers = [sections.open_section(s, Budget(content.decoded_bytes)) for s in content.sections if s.kind == sections.SHARED]
    for shared, row in zip(layers, report.layers, strict=True):
        for symbols, nbytes, bits in ((shared.gaps - 1, shared.gap_bytes, row.index_bits), (shared.codes, shared.code_bytes, row.weight_bits)):
            counts = np.bincount(symbols.numpy())
            best, entries = _optimal_bits(counts), int(counts.sum())
            assert total_bits(counts, code_lengths(counts)) == best
            assert entropy(counts) - 1e-9 <= best / entries < entropy(counts) + 1
            lanes, table = -(-entries // LANE), (len(counts) + 1) // 2
            coded = nbytes - 2 * lanes - table                                      # what is left: bits, and a few bytes of lengths
            assert nbytes == 1 + (entries * bits + 7) // 8 or best / 8 <= coded < best / 8 + lanes + 9
