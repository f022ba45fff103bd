"""What a compressed file holds, in the columns of the paper's tables 2 to 5; every size is bytes of the file."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch

from qtoolkit.compression import sections
from qtoolkit.compression.bodies import Budget
from qtoolkit.compression.container import Container, Section
from qtoolkit.compression.huffman import code_lengths, total_bits
from qtoolkit.compression.sections import CONTEXT, SHARED, Shared


@dataclass(frozen=True)
class LayerReport:
    """One compressed layer. Bits are per stored entry (kept weights and fillers); `percent_*` are of its dense size.

    A layer coded by context has no separate streams: its `weight_bits_huffman`, index bits and `percent_pq` are None.
    """

    name: str
    shape: tuple[int, ...]
    coder: str                          # "huffman" or "context"
    weights: int
    kept: int
    kept_percent: float
    filler_percent: float               # fillers, relative to the weights kept
    codebook: int                       # shared values, without the zero
    weight_bits: int                    # after pruning and sharing
    weight_bits_huffman: float | None
    index_bits: int | None
    index_bits_huffman: float | None
    bytes: int                          # of its section in the file
    bits_per_kept: float                # all of them, 8 bytes / kept
    percent_pq: float | None            # the section without Huffman coding, codebook included
    percent_pqh: float                  # the section as it is

    def columns(self) -> dict:
        """The columns of the paper's tables, plain values for a results file; what a layer coded by context does not have is None."""
        kept = ("name", "weights", "kept", "bytes", "weight_bits", "index_bits")
        measured = ("kept_percent", "weight_bits_huffman", "index_bits_huffman", "percent_pq", "percent_pqh")
        rounded = {name: None if (value := getattr(self, name)) is None else round(value, 3) for name in measured}
        return {name: getattr(self, name) for name in kept} | rounded


@dataclass(frozen=True)
class Report:
    """A whole file. bytes: its length. dense_bytes: all its tensors uncompressed. ratio: dense_bytes / bytes."""

    bytes: int
    dense_bytes: int
    ratio: float
    layers: tuple[LayerReport, ...]
    other_bytes: int                # biases, batch norms, description of the network, header
    error_percent: float | None = None

    def to_dict(self) -> dict:
        """Plain values for JSON: bytes, dense_bytes, ratio, error_percent, other_bytes, layers."""
        return asdict(self)

    def table(self) -> str:
        """The paper's table for this file, as text."""
        rows = [[f"{r.name}", f"{r.weights:,}", f"{r.kept_percent:.1f}", f"{r.filler_percent:.1f}", f"{r.weight_bits}", _show(r.weight_bits_huffman),
                 "-" if r.index_bits is None else f"{r.index_bits}", _show(r.index_bits_huffman), _show(r.percent_pq), f"{r.percent_pqh:.2f}",
                 f"{r.bytes:,}"] for r in self.layers]
        head = ["layer", "weights", "kept%", "fill%", "w bits", "+H", "i bits", "+H", "P+Q%", "P+Q+H%", "bytes"]
        lines = [f"{r[0]:16}" + "".join(f"{cell:>{width}}" for cell, width in zip(r[1:], _WIDTHS)) for r in [head, *rows]]
        total = f"{'everything else':16}{self.other_bytes:>{sum(_WIDTHS)},}\n{'file':16}{self.bytes:>{sum(_WIDTHS)},}"
        return "\n".join([*lines, f"{total}  of {self.dense_bytes:,}: {self.ratio:.2f}x"])


_WIDTHS = (13, 7, 7, 8, 6, 8, 6, 8, 8, 12)


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def report_of(content: Container, length: int) -> Report:
    """The report of a parsed file of `length` bytes."""
    budget = Budget(content.decoded_bytes)
    layers = tuple(_layer(s, sections.open_section(s, budget)) for s in content.sections if s.kind in (SHARED, CONTEXT))
    return Report(length, content.decoded_bytes, content.decoded_bytes / length, layers, length - sum(r.bytes for r in layers))


def _layer(section: Section, shared: Shared) -> LayerReport:
    weights, entries, kept = math.prod(shared.shape), shared.codes.numel(), int((shared.codes != 0).sum())
    dense, streams = max(weights * shared.dtype.itemsize, 1), section.kind == SHARED
    width, indexed = sections.code_width(shared.codebook.numel()), shared.index_bits > 0
    fixed = section.nbytes - shared.gap_bytes - shared.code_bytes + _packed(entries, width) + _packed(entries, shared.index_bits)
    return LayerReport(
        name=section.name.removesuffix(".weight"), shape=shared.shape, coder="huffman" if streams else "context", weights=weights,
        kept=kept, kept_percent=100 * kept / max(weights, 1), filler_percent=100 * (entries - kept) / max(kept, 1) if indexed else 0.0,
        codebook=shared.codebook.numel() - 1, weight_bits=width, weight_bits_huffman=_mean_bits(shared.codes, width) if streams else None,
        index_bits=shared.index_bits if streams else None, index_bits_huffman=_mean_bits(shared.gaps - 1, shared.index_bits) if streams else None,
        bytes=section.nbytes, bits_per_kept=8 * section.nbytes / max(kept, 1),
        percent_pq=100 * fixed / dense if streams else None, percent_pqh=100 * section.nbytes / dense)


def _packed(entries: int, bits: int) -> int:
    """A stream of fixed width in the file: its form in one byte, then the bits; no stream for gaps of 0 bits."""
    return 1 + (entries * bits + 7) // 8 if bits else 0


def _mean_bits(symbols: torch.Tensor, fixed: int) -> float:
    """Mean Huffman codeword, or the fixed width if that is shorter (as in the file); tables are counted in bytes, not here."""
    if not symbols.numel():
        return 0.0
    counts = np.bincount(symbols.numpy())
    return min(float(fixed), total_bits(counts, code_lengths(counts)) / symbols.numel())
