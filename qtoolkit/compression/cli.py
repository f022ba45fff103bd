"""What `qt compress`, `qt inspect`, `qt evaluate` and `qt import-songhan` print: each function does one command and returns its text.

Networks and data are handed in by `qtoolkit/cli.py`, for this room does not know the lab. A BadFile is a message, not a traceback:
the caller prints it and exits with 1.
"""

import json
from pathlib import Path

from torch import Tensor, nn

from qtoolkit.compression.container import BadFile
from qtoolkit.compression.pipeline import LayerRecipe, Recipe, compress, evaluated, inspect, paper_recipe
from qtoolkit.compression.report import Report
from qtoolkit.compression.songhan import caffe_alexnet, import_songhan


def text_of(report: Report, as_json: bool = False) -> str:
    """The paper's table, with the error if it was measured; or JSON with at least ratio, bytes, dense_bytes, error_percent, layers."""
    if as_json:
        return json.dumps(report.to_dict(), indent=2)
    error = "" if report.error_percent is None else f"\nerror {report.error_percent:.2f} %"
    return report.table() + error


def run_compress(model: nn.Module, path: Path, network: str | None = None, as_json: bool = False) -> str:
    """Compress by the paper's densities and bits for `network`, or as the model is (5-bit codes, 8-bit gaps) without a name."""
    recipe = Recipe(LayerRecipe(index_bits=8)) if network is None else paper_recipe(network, model)
    return text_of(compress(model, path, recipe), as_json)


def run_inspect(path: Path, as_json: bool = False) -> str:
    """What a file holds, without rebuilding a weight."""
    return text_of(inspect(path), as_json)


def run_evaluate(path: Path, inputs: Tensor, labels: Tensor, as_json: bool = False) -> str:
    """What a file holds and the error of the network in it."""
    try:
        return text_of(evaluated(path, inputs, labels), as_json)
    except RuntimeError as error:   # torch's word for shapes that do not fit
        raise ValueError(f"the network in {path} does not take inputs of shape {tuple(inputs.shape[1:])}, expected a network for these "
                         f"data (torch says: {str(error).splitlines()[0]}); `qt inspect {path}` shows its layers") from None


def run_import_songhan(source: Path, target: Path, model: nn.Module | None = None, as_json: bool = False) -> str:
    """Translate the authors' file into ours: same weights, now Huffman coded and checksummed. `model` defaults to Caffe's AlexNet."""
    model = import_songhan(source, caffe_alexnet() if model is None else model)
    return text_of(compress(model, target, Recipe(LayerRecipe(bits=8, index_bits=4))), as_json)


__all__ = ["BadFile", "run_compress", "run_evaluate", "run_import_songhan", "run_inspect", "text_of"]
