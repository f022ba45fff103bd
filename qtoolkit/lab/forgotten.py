"""The parts of a compressed file that a careless size forgets, in bytes of the file itself."""

from pathlib import Path

import numpy as np

from qtoolkit.compression import container, sections
from qtoolkit.compression.bodies import Budget
from qtoolkit.compression.huffman import code_lengths
from qtoolkit.lab.anatomy import bytes_by_kind


def ledger(path: str | Path) -> dict[str, int]:
    """Bytes of a Huffman coded file by what they are for; they add up to its length.

    "codes" and "gaps" are those of kept weights. "filler codes" and "filler gaps" are what the fillers take in the same two streams,
    from the lengths of their codewords. "header": the frame, names, shapes and the description of the network.

    See: book/chapters/20-the-paper-audited.ipynb#which-bytes-did-you-forget
    """
    kinds = bytes_by_kind(Path(path).read_bytes())
    weights = {name for name, sizes in kinds.items() if sizes["codes"]}
    parts = dict.fromkeys(("codes", "gaps", "filler codes", "filler gaps", "codebooks", "tables", "biases", "header"), 0)
    for name, sizes in kinds.items():
        parts["header"] += sizes["frame"] + sizes["shape"]
        parts["codes"] += sizes["codes"]
        parts["gaps"] += sizes["gaps"]
        parts["tables"] += sizes["table"]
        parts["codebooks" if name in weights else "biases"] += sizes["codebook"] + sizes["rest"]
    for stream, size in _filler_bytes(path).items():
        parts[f"filler {stream}"] = size
        parts[stream] -= size
    return parts


def _filler_bytes(path: str | Path) -> dict[str, int]:
    """What the codewords of all fillers take: a filler has code 0 and the longest gap."""
    content, bits = container.read(path), {"codes": 0, "gaps": 0}
    budget = Budget(content.decoded_bytes)
    for section in (s for s in content.sections if s.kind == sections.SHARED):
        layer = sections.open_section(section, budget)
        fillers = int((layer.codes == 0).sum())
        if fillers and layer.index_bits:
            bits["codes"] += fillers * int(code_lengths(np.bincount(layer.codes.numpy()))[0])
            bits["gaps"] += fillers * int(code_lengths(np.bincount(layer.gaps.numpy() - 1))[(1 << layer.index_bits) - 1])
    return {stream: (count + 7) // 8 for stream, count in bits.items()}
