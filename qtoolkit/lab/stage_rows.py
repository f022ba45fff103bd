"""Where the bytes of a network go after each stage: rows for `widgets.Stage`, every row with the same parts."""

from pathlib import Path

from torch import nn

from qtoolkit.compression.pruning import weight_layers
from qtoolkit.compression.sparse_index import RelativeIndex, relative_index
from qtoolkit.lab.anatomy import bytes_by_kind

_PART_OF = {"codes": "values", "rest": "values", "gaps": "places", "codebook": "codebook", "table": "tables", "frame": "headers", "shape": "headers"}
PARTS = tuple(dict.fromkeys(_PART_OF.values()))
BIASES, FRAME = "biases", "frame and network"
Rows = dict[str, dict[str, int]]


def dense_rows(model: nn.Module) -> Rows:
    """float32 weights and biases, and nothing else.

    >>> dense_rows(nn.Sequential(nn.Linear(3, 2)))["layer 0"]["values"]
    24
    """
    rows = _empty(model)
    for name, layer in weight_layers(model).items():
        rows[f"layer {name}"]["values"] = layer.weight.nbytes
    rows[BIASES]["values"] = _bias_bytes(model)
    return rows


def pruned_rows(model: nn.Module) -> Rows:
    """Kept weights as float32 and their gaps in the best fixed width, fillers counted in both; biases as they are."""
    rows = _empty(model)
    for name, layer in weight_layers(model).items():
        index = best_relative_index(layer)
        rows[f"layer {name}"] |= {"values": 4 * index.gaps.numel(), "places": index.nbytes}
    rows[BIASES]["values"] = _bias_bytes(model)
    return rows


def file_rows(path: str | Path) -> Rows:
    """The parts of a compressed file; together its length."""
    rows: Rows = {}
    for section, kinds in bytes_by_kind(Path(path).read_bytes()).items():
        layer, _, what = section.rpartition(".")
        row = rows.setdefault(f"layer {layer}" if what == "weight" else BIASES if what == "bias" else FRAME, dict.fromkeys(PARTS, 0))
        for kind, size in kinds.items():
            row[_PART_OF[kind]] += size
    layers = [name for name in rows if name not in (BIASES, FRAME)]
    return {name: rows.get(name, dict.fromkeys(PARTS, 0)) for name in [*layers, BIASES, FRAME]}


def best_relative_index(layer: nn.Module) -> RelativeIndex:
    """The index whose gaps and float32 values together take the fewest bytes."""
    return min((relative_index(layer.weight, bits) for bits in range(1, 9)), key=lambda index: 4 * index.gaps.numel() + index.nbytes)


def _empty(model: nn.Module) -> Rows:
    return {name: dict.fromkeys(PARTS, 0) for name in [*(f"layer {name}" for name in weight_layers(model)), BIASES, FRAME]}


def _bias_bytes(model: nn.Module) -> int:
    return sum(layer.bias.nbytes for layer in weight_layers(model).values() if layer.bias is not None)
