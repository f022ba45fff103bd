"""What a compressed file holds, in the columns of the paper's tables 2 to 5; every size is bytes of the file."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from qtoolkit.compression import sections
from qtoolkit.compression.container import Container, Section
from qtoolkit.compression.huffman import code_lengths, total_bits
from qtoolkit.compression.sections import Budget, Shared


@dataclass(frozen=True)
class LayerReport:
    """One compressed layer. Bits are per stored entry (kept weights and fillers); `percent_*` are of its float32 size."""

    name: str
    shape: tuple[int, ...]
    weights: int
    kept: int
    kept_percent: float
    filler_percent: float           # fillers, relative to the weights kept
    codebook: int                   # shared values, without the zero
    weight_bits: int                # after pruning and sharing
    weight_bits_huffman: float
    index_bits: int
    index_bits_huffman: float
    bytes: int                      # of its section in the file
    percent_pq: float               # the section without Huffman coding, codebook included
    percent_pqh: float              # the section as it is


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
        head = f"{'layer':16}{'weights':>11}{'kept%':>7}{'fill%':>7}{'w bits':>7}{'+H':>6}{'i bits':>7}{'+H':>6}{'P+Q%':>8}{'P+Q+H%':>8}{'bytes':>11}"
        rows = [f"{r.name:16}{r.weights:>11,}{r.kept_percent:>7.1f}{r.filler_percent:>7.1f}{r.weight_bits:>7}{r.weight_bits_huffman:>6.2f}"
                f"{r.index_bits:>7}{r.index_bits_huffman:>6.2f}{r.percent_pq:>8.2f}{r.percent_pqh:>8.2f}{r.bytes:>11,}" for r in self.layers]
        total = f"{'everything else':16}{self.other_bytes:>83,}\n{'file':16}{self.bytes:>83,}  of {self.dense_bytes:,}: {self.ratio:.2f}x"
        return "\n".join([head, *rows, total])


def report_of(content: Container, length: int) -> Report:
    """The report of a parsed file of `length` bytes."""
    budget = Budget(content.decoded_bytes)
    layers = tuple(_layer(s, sections.open_shared(s, budget)) for s in content.sections if s.kind == sections.SHARED)
    return Report(length, content.decoded_bytes, content.decoded_bytes / length, layers, length - sum(r.bytes for r in layers))


def _layer(section: Section, shared: Shared) -> LayerReport:
    weights, entries = int(np.prod(shared.shape, dtype=object)), shared.codes.numel()
    kept = int((shared.codes != 0).sum())
    width, dense = sections.code_width(shared.codebook.numel()), max(weights * shared.dtype.itemsize, 1)
    fixed = section.nbytes - shared.gap_bytes - shared.code_bytes + _packed(entries, width) + _packed(entries, shared.index_bits)
    return LayerReport(
        name=section.name.removesuffix(".weight"), shape=shared.shape, weights=weights, kept=kept, kept_percent=100 * kept / max(weights, 1),
        filler_percent=100 * (entries - kept) / max(kept, 1) if shared.index_bits else 0.0, codebook=shared.codebook.numel() - 1,
        weight_bits=width, weight_bits_huffman=_mean_bits(shared.codes, width), index_bits=shared.index_bits,
        index_bits_huffman=_mean_bits(shared.gaps - 1, shared.index_bits), bytes=section.nbytes,
        percent_pq=100 * fixed / dense, percent_pqh=100 * section.nbytes / dense)


def _packed(entries: int, bits: int) -> int:
    """A stream of fixed width in the file: its form in one byte, then the bits; no stream for gaps of 0 bits."""
    return 1 + (entries * bits + 7) // 8 if bits else 0


def _mean_bits(symbols: torch.Tensor, fixed: int) -> float:
    """Mean Huffman codeword, or the fixed width if that is shorter (as in the file); tables are counted in bytes, not here."""
    if not symbols.numel():
        return 0.0
    counts = np.bincount(symbols.numpy())
    return min(float(fixed), total_bits(counts, code_lengths(counts)) / symbols.numel())
