"""Two real networks under every way to map numbers to few codes: grid x bits x granularity x calibration (`qt reproduce ranges`).

EfficientNet-Lite0 answers for labelled photographs, MiniLM finds sentences of the same meaning. A *setting* quantizes the weights, the
inputs of the layers, or both; everything else stays in float32. Whatever is chosen from data is chosen on data that is not scored.
"""

import copy
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from qtoolkit.lab import results
from qtoolkit.lab.journal import Journal
from qtoolkit.lab.minilm import tokens
from qtoolkit.lab.models import trained
from qtoolkit.lab.photographs import Photos, photos
from qtoolkit.lab.progress import bar
from qtoolkit.lab.ranges_page import write_page
from qtoolkit.lab.text import sentence_pairs
from qtoolkit.layers import DynamicInputs, StaticInputs, calibrate, find_layers, quantize_
from qtoolkit.posttraining import fold_batch_norms
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
    scheme = partial(Scheme, setting.input_bits or setting.bits, symmetric=False, signed=False)
    if setting.ranges == "dynamic":
        alone = setting.granularity if setting.target == "inputs" else "layer"
        return DynamicInputs(scheme(granularity={"token": PerToken(), "photograph": PerChannel(axis=0), "layer": PerTensor()}[alone]))
    return StaticInputs(scheme(), calibrate(model, batches, partial(_observer, setting.calibration, scheme())))


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


def percent(right: Tensor) -> float:
    """The share of true answers, bool (N,), in percent."""
    return round(100 * right.double().mean().item(), 3)


def paired(right: Tensor, reference: Tensor) -> dict[str, float]:
    """Accuracy in percent, and its difference to the reference on the same examples with the standard error of that difference.

    right, reference: bool (N,). The error of a paired difference counts only examples on which the two disagree, so it is far smaller
    than that of two separate accuracies.

    >>> paired(torch.tensor([True, False, True, True]), torch.tensor([True, True, True, True]))
    {'difference': -25.0, 'standard_error': 25.0}
    """
    difference = 100 * (right.double() - reference.double())
    return {"difference": round(difference.mean().item(), 3), "standard_error": round(difference.std().item() / math.sqrt(len(right)), 3)}


CALIBRATION_PAIRS = 16  # of the 96; the other 80 are scored


class Photographs:
    """EfficientNet-Lite0 answering for labelled photographs. The twenty of `lab.photos()` calibrate, whichever are scored."""

    def __init__(self, scored: Photos):
        self.scored, self.calibration = scored, photos().inputs().split(1)
        self.network = fold_batch_norms(trained("efficientnet-lite0"))
        self.answers = self._answers(self.network)
        self.float32 = {"target": "none", "grid": "float32", "bits": 32, "top1_percent": percent(self.answers == scored.labels)}

    def row(self, setting: Setting) -> dict:
        """Right answers under `setting`, their difference to float32, and how many answers stay the same."""
        model, row = quantized(self.network, setting, self.calibration)
        answers = self._answers(model)
        right, first = answers == self.scored.labels, self.answers == self.scored.labels
        return row | {"top1_percent": percent(right)} | paired(right, first) | {"agree_percent": percent(answers == self.answers)}

    @torch.inference_mode()
    def _answers(self, model: nn.Module, batch: int = 4) -> Tensor:
        """The class that the model names for each photograph; pixels become real numbers batch by batch."""
        starts = range(0, len(self.scored), batch)
        return torch.cat([model(self.scored[start:start + batch].inputs()).argmax(1) for start in starts])


class Sentences:
    """MiniLM turning pairs of sentences of one meaning into vectors; the first pairs calibrate, the others are scored."""

    def __init__(self):
        pairs = sentence_pairs()
        self.calibration = [tokens(list(pair)) for pair in pairs[:CALIBRATION_PAIRS]]
        self.halves = [tokens(list(half)) for half in zip(*pairs[CALIBRATION_PAIRS:])]
        self.network = trained("minilm")
        self.vectors = self._vectors(self.network)
        self.found = _found(*self.vectors)
        self.float32 = {"target": "none", "grid": "float32", "bits": 32, "found_percent": percent(self.found)}

    def row(self, setting: Setting) -> dict:
        """How far the vectors turn under `setting`, and whether partners still find each other."""
        model, row = quantized(self.network, setting, self.calibration)
        vectors = self._vectors(model)
        cosine, found = (vectors * self.vectors).sum(-1).flatten(), _found(*vectors)
        turned = {"cosine": round(cosine.mean().item(), 5), "cosine_min": round(cosine.min().item(), 5)}
        return row | turned | {"found_percent": percent(found)} | paired(found, self.found)

    @torch.inference_mode()
    def _vectors(self, model: nn.Module) -> Tensor:
        """Unit vectors of both halves: (2, pairs, width)."""
        return torch.stack([model(half) for half in self.halves])


def _found(one: Tensor, other: Tensor) -> Tensor:
    """For each sentence, whether of all sentences of the other half its own partner is the nearest: bool (2 pairs,)."""
    likeness, partner = one @ other.T, torch.arange(len(one))
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
    """Measure every row; write ranges.json and its page. Takes about 30 ms a photograph and row on one core; goes on where it was interrupted.

    Photographs come from the folder that QT_IMAGES names, else the twenty of `lab.photos()`.
    """
    scored = photos(os.environ.get("QT_IMAGES"))
    journal = Journal("ranges", {"photos": scored.name, **results.versions()})
    path = results.record("ranges", {
        "photos": {"set": scored.name, "count": len(scored), "calibration": len(photos())},
        "sentences": {"set": "the course's own pairs", "count": 2 * (len(sentence_pairs()) - CALIBRATION_PAIRS), "calibration": 2 * CALIBRATION_PAIRS},
        "minilm": _measured(Sentences(), text_settings(), journal),
        "efficientnet-lite0": _measured(Photographs(scored), photo_settings(), journal),
    })
    write_page()
    journal.forget()
    return path


def _measured(test: Photographs | Sentences, settings: list[Setting], journal: Journal) -> list[dict]:
    """The float32 row and one for each setting; a row that the journal holds is not measured again."""
    what = type(test).__name__
    return [test.float32, *(journal.once(f"{what} {setting}", partial(test.row, setting)) for setting in bar(settings, what=what))]
