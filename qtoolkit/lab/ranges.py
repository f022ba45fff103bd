"""Two real networks under every way to map numbers to few codes: grid x bits x granularity x calibration (`qt reproduce ranges`).

EfficientNet-Lite0 answers for labelled photographs, MiniLM finds sentences of the same meaning. A *setting* quantizes the weights, the
inputs of the layers, or both; everything else stays in float32. Whatever is chosen from data is chosen on data that is not scored.
"""

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from qtoolkit.lab import results
from qtoolkit.lab.progress import bar
from qtoolkit.layers import DynamicInputs, StaticInputs, calibrate, find_layers, quantize_
from qtoolkit.quantizers import (
    KL, MSE, AciqGauss, AciqLaplace, Affine, APoT, BinaryCodes, ChannelGroups, Codebook, HistogramObserver, KMeans, LloydMax, MinMaxObserver,
    MovingAverageObserver, NormalFloat, PerChannel, PerGroup, Percentile, PerTensor, PerToken, PowerOfTwo, Scheme, min_max,
)

UNIFORM = {"symmetric": {}, "restricted": {"narrow_range": True}, "asymmetric": {"symmetric": False, "signed": False}}
CODEBOOKS = {
    "power of two": PowerOfTwo, "APoT": APoT, "binary codes": BinaryCodes, "Lloyd-Max": LloydMax, "normal float": NormalFloat,
    "k-means": lambda bits: KMeans(2**bits),
}
CALIBRATIONS = {
    "percentile": lambda scheme: Percentile(99.9), "MSE": MSE, "KL": lambda scheme: KL(scheme.bits),
    "ACIQ Laplace": lambda scheme: AciqLaplace(scheme.bits), "ACIQ Gauss": lambda scheme: AciqGauss(scheme.bits),
}


@dataclass(frozen=True)
class Setting:
    """One row: what is quantized, to which levels, who shares a scale, and how the range is found."""

    target: str  # weights, inputs, both
    grid: str
    bits: int  # of the weights, or of the inputs if only they are quantized
    granularity: str = "channel"  # of the weights, or of the inputs if only they are quantized
    calibration: str = "min/max"
    ranges: str = "-"  # of the inputs: static, dynamic
    input_bits: int | None = None


# Weights -----------------------------------------------------------------------------------------------------------------------------


def _granularity(name: str, weight: Tensor):
    """Who shares a scale in this weight. Sub-channel: 16 neighboring inputs of a channel, the whole channel where 16 do not divide them."""
    if name.startswith("sub-channel"):
        size = int(name.split()[1])
        return PerGroup(size, axis=1) if weight.shape[1] % size == 0 else PerChannel()
    return {"layer": PerTensor(), "group of channels": ChannelGroups(8), "channel": PerChannel()}[name]


def weight_quantizer(setting: Setting, weight: Tensor) -> Affine | Codebook:
    """The quantizer of this weight under `setting`."""
    granularity = _granularity(setting.granularity, weight)
    if setting.grid in CODEBOOKS:
        return Codebook.fit(weight, CODEBOOKS[setting.grid](setting.bits), granularity)
    scheme = Scheme(setting.bits, granularity=granularity, **UNIFORM[setting.grid])
    return Affine.fit(weight, scheme, min_max if setting.calibration == "min/max" else CALIBRATIONS[setting.calibration](scheme))


@torch.no_grad()
def quantize_weights(model: nn.Module, setting: Setting) -> float:
    """Every Linear and Conv2d weight of `model` becomes what its codes stand for: the numbers of `WeightOnly`, without unpacking at each call.

    Returns bits per weight: packed codes, scales, zero points and code books.
    """
    stored = count = 0
    for layer in find_layers(model).values():
        codes = weight_quantizer(setting, layer.weight).encode(layer.weight)
        stored, count = stored + 8 * codes.nbytes, count + layer.weight.numel()
        layer.weight.copy_(codes.dequantize())
    return round(stored / count, 3)


# Inputs ------------------------------------------------------------------------------------------------------------------------------


def input_config(setting: Setting, model: nn.Module, batches: Iterable) -> DynamicInputs | StaticInputs:
    """How the input of every layer is quantized; static ranges are calibrated on `batches` with the model as it is."""
    bits = setting.input_bits or setting.bits
    scheme = Scheme(bits, symmetric=False, signed=False)
    if setting.ranges == "dynamic":
        own = {"token": PerToken(), "photograph": PerChannel(axis=0)}.get(setting.granularity if setting.target == "inputs" else "", PerTensor())
        return DynamicInputs(Scheme(bits, symmetric=False, signed=False, granularity=own))
    return StaticInputs(scheme, calibrate(model, batches, partial(_observer, setting.calibration, scheme)))


def _observer(calibration: str, scheme: Scheme):
    if calibration == "min/max":
        return MinMaxObserver()
    return MovingAverageObserver(momentum=0.1) if calibration == "moving average" else HistogramObserver(CALIBRATIONS[calibration](scheme))


def quantized(network: nn.Module, setting: Setting, batches: Iterable) -> tuple[nn.Module, dict]:
    """A copy of `network` under `setting`, and the beginning of its row."""
    model, row = copy.deepcopy(network), asdict(setting)
    if setting.target != "weights":
        quantize_(model, input_config(setting, model, batches))
    if setting.target != "inputs":
        row["bits_per_weight"] = quantize_weights(model, setting)
    return model, row


# What is measured --------------------------------------------------------------------------------------------------------------------


def paired(right: Tensor, reference: Tensor) -> dict[str, float]:
    """Accuracy in percent, and its difference to the reference on the same examples with the standard error of that difference.

    right, reference: bool (N,). The error of a paired difference counts only examples on which the two disagree, so it is far smaller
    than that of two separate accuracies.

    >>> paired(torch.tensor([True, False, True, True]), torch.tensor([True, True, True, True]))
    {'difference': -25.0, 'standard_error': 25.0}
    """
    difference = 100 * (right.double() - reference.double())
    return {"difference": round(difference.mean().item(), 3), "standard_error": round(difference.std().item() / math.sqrt(len(right)), 3)}


@torch.inference_mode()
def _logits(model: nn.Module, photos, batch: int = 4) -> Tensor:
    """Logits of all photographs; the pixels become real numbers batch by batch."""
    return torch.cat([model(photos[start:start + batch].inputs()) for start in range(0, len(photos), batch)])


def _photo_rows(photos, settings: list[Setting]) -> Iterator[dict]:
    from qtoolkit.lab.models import trained
    from qtoolkit.lab.photographs import photos as photographs
    from qtoolkit.posttraining import fold_batch_norms

    network = fold_batch_norms(trained("efficientnet-lite0"))
    batches = photographs().inputs().split(1)  # the twenty calibrate, whichever set is scored
    reference = _logits(network, photos)
    first = reference.argmax(1) == photos.labels
    yield {"target": "none", "grid": "float32", "bits": 32, "top1_percent": round(100 * first.double().mean().item(), 3)}
    for setting in settings:
        model, row = quantized(network, setting, batches)
        logits = _logits(model, photos)
        right, same = logits.argmax(1) == photos.labels, logits.argmax(1) == reference.argmax(1)
        yield row | {"top1_percent": round(100 * right.double().mean().item(), 3)} | paired(right, first) | {
            "agree_percent": round(100 * same.double().mean().item(), 3)}


CALIBRATION_PAIRS = 16  # of the 96; the other 80 are scored


def _sentence_rows(settings: list[Setting]) -> Iterator[dict]:
    from qtoolkit.lab.minilm import tokens
    from qtoolkit.lab.models import trained
    from qtoolkit.lab.text import sentence_pairs

    network, pairs = trained("minilm"), sentence_pairs()
    batches = [tokens(list(pair)) for pair in pairs[:CALIBRATION_PAIRS]]
    halves = [tokens(list(half)) for half in zip(*pairs[CALIBRATION_PAIRS:])]
    reference = _embeddings(network, halves)
    first = _found(reference)
    yield {"target": "none", "grid": "float32", "bits": 32, "found_percent": round(100 * first.double().mean().item(), 3)}
    for setting in settings:
        model, row = quantized(network, setting, batches)
        vectors = _embeddings(model, halves)
        cosine, found = (vectors * reference).sum(1), _found(vectors)
        yield row | {"cosine": round(cosine.mean().item(), 5), "cosine_min": round(cosine.min().item(), 5),
                                 "found_percent": round(100 * found.double().mean().item(), 3)} | paired(found, first)


@torch.inference_mode()
def _embeddings(model: nn.Module, halves: list) -> Tensor:
    return torch.cat([model(half) for half in halves])


def _found(vectors: Tensor) -> Tensor:
    """For each sentence, whether of all sentences of the other half its own partner is the nearest: bool (2 pairs,)."""
    likeness, partner = torch.mm(*(lambda a, b: (a, b.T))(*vectors.chunk(2))), torch.arange(len(vectors) // 2)
    return torch.cat([likeness.argmax(1) == partner, likeness.argmax(0) == partner])


# The table ---------------------------------------------------------------------------------------------------------------------------


def weight_settings(sub_channel: str, widths: tuple[int, ...]) -> list[Setting]:
    """Ladders, one thing changed at a time: granularity and symmetry, calibration, grid."""
    row, narrow = partial(Setting, "weights"), [bits for bits in widths if bits < 6]
    sharing = ("layer", "group of channels", "channel", sub_channel)
    ladder = [row("symmetric", bits, who) for bits, who in product(widths, sharing)]
    ladder += [row("restricted", bits, who) for bits, who in product(widths, sharing[2:])]
    ladder += [row("asymmetric", bits, who) for bits, who in product((8, *narrow), sharing[2:])]
    ladder += [row(grid, bits, "layer") for grid, bits in product(("restricted", "asymmetric"), (8, 4))]
    ranges = [row("symmetric", bits, "channel", name) for bits, name in product(narrow, ("MSE", "ACIQ Laplace", "ACIQ Gauss"))]
    ranges += [row("symmetric", bits, "layer", name) for bits, name in product((8, 4), CALIBRATIONS)]
    grids = [row(grid, bits) for grid, bits in product(CODEBOOKS, narrow)]
    grids += [row("k-means", bits, "layer") for bits in (5, 4)]
    return ladder + ranges + grids


def input_settings(alone: str, widths: tuple[int, ...]) -> list[Setting]:
    """Inputs with static ranges from every calibration, and with dynamic ranges for each `alone`."""
    row = partial(Setting, "inputs", "asymmetric")
    static = [row(bits, "layer", name, "static") for bits in widths for name in ("min/max", "moving average", *CALIBRATIONS)]
    return static + [row(bits, alone, "min/max", "dynamic") for bits in widths]


def both_settings() -> list[Setting]:
    row = partial(Setting, "both")
    return [row(grid, bits, "channel", calibration, ranges, input_bits) for grid, bits, calibration, ranges, input_bits in (
        ("symmetric", 8, "min/max", "static", 8), ("symmetric", 8, "min/max", "dynamic", 8), ("symmetric", 8, "MSE", "static", 8),
        ("symmetric", 4, "MSE", "static", 8), ("symmetric", 4, "MSE", "static", 4), ("k-means", 4, "MSE", "static", 8))]


def text_settings() -> list[Setting]:
    """The rows of MiniLM."""
    shared = [Setting("inputs", "asymmetric", bits, "layer", "min/max", "dynamic") for bits in (8, 6, 4)]
    return [*weight_settings("sub-channel 32", (8, 6, 5, 4, 3)), *input_settings("token", (8, 6, 4)), *shared, *both_settings()]


def photo_settings() -> list[Setting]:
    """The rows of EfficientNet-Lite0: at 3 bits nothing is left of it, so there are none."""
    return [*weight_settings("sub-channel 16", (8, 6, 5, 4)), *input_settings("photograph", (8, 4)), *both_settings()]


def ranges() -> Path:
    """Measure every row; write ranges.json and its page. Takes about 30 ms a photograph and row on one core.

    Photographs come from the folder that QT_IMAGES names, else the twenty of `lab.photos()`.
    """
    from qtoolkit.lab.photographs import photos as photographs

    photos, text, pictures = photographs(os.environ.get("QT_IMAGES")), text_settings(), photo_settings()
    return record(photos.name, len(photos), list(bar(_sentence_rows(text), what="MiniLM", total=len(text) + 1)),
                  list(bar(_photo_rows(photos, pictures), what="EfficientNet-Lite0", total=len(pictures) + 1)))


def record(name: str, count: int, sentence_rows: list[dict], photo_rows: list[dict]) -> Path:
    """Write ranges.json and the page that shows it."""
    from qtoolkit.lab.ranges_page import write_page

    path = results.record("ranges", {
        "photos": {"set": name, "count": count, "calibration": 20},
        "sentences": {"set": "the course's own pairs", "count": 160, "calibration": 2 * CALIBRATION_PAIRS},
        "efficientnet-lite0": photo_rows, "minilm": sentence_rows,
    })
    write_page()
    return path
