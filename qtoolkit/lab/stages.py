"""From a dense network to a small file, stage by stage: whole units, single weights, shared values, one file.

    dense -> [units] -> gradual pruning -> k-means codes or a learned grid, trained in place -> file

Nothing here looks at a held-out or a test image.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from qtoolkit.compression import ContextRecipe, GradualPruning, LayerRecipe, Recipe, Report, best_index_bits, compress, share, share_, unshare_
from qtoolkit.compression.learned_grid import grid_, ungrid_
from qtoolkit.compression.pruning import activation_scores, layer_masks, weight_layers
from qtoolkit.compression.units import clear_dead_units_, drop_units_, grown, shrunk, sort_units_
from qtoolkit.lab.retrain import Pool, retrain, steps_of

SCORED = 1000  # training images that a score looks at


@dataclass(frozen=True)
class Stages:
    """One way from a dense network to a file; every tuple has one value a layer.

    density: weights kept, ranked in their layer by |w|, or if `heard` by |w| rms(x). units: hidden units kept, by layer name, before single
    weights go. gradual: on a cubic schedule over the first half of the epochs, not all at once. bits: shared values by k-means, or levels: a
    learned grid. context: coded by context instead of Huffman. bias_bits: as in `Recipe`.
    """

    density: tuple[float, ...]
    epochs: int
    finish: int                             # epochs with the codes in place
    bits: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    context: bool = False
    heard: bool = False
    gradual: bool = True
    units: Mapping[str, int] = field(default_factory=dict)
    bias_bits: int = 8
    lr: float = 2e-3
    finish_lr: float = 7e-4


def compressed(dense: nn.Sequential, stages: Stages, pool: Pool, seed: int, path: Path) -> Report:
    """All stages on a copy of `dense`; the file is written to `path`."""
    model = copy.deepcopy(dense)
    if stages.units:
        model = shrunk(sort_units_(drop_units_(model, stages.units, _some(pool))))
    model = coded(pruned(model, stages, pool, seed), stages, pool, seed)
    return written(sort_units_(grown(model, dense) if stages.units else model), stages, path)


def pruned(model: nn.Sequential, stages: Stages, pool: Pool, seed: int) -> nn.Sequential:
    """Prune, and train what is left. In place."""
    choose = (lambda density: layer_masks(activation_scores(model, _some(pool)), density)) if stages.heard else None
    last = steps_of(pool, stages.epochs) // 2 if stages.gradual else 1
    schedule = GradualPruning(model, named(model, stages.density), stop=last, choose=choose)
    retrain(model, pool, epochs=stages.epochs, lr=stages.lr, seed=seed, after_step=schedule.step, what="pruning")
    return clear_dead_units_(model)


def coded(model: nn.Sequential, stages: Stages, pool: Pool, seed: int) -> nn.Sequential:
    """Few values a layer, trained with the codes in place. In place."""
    if stages.bits:
        share_(model, named(model, stages.bits))
    else:
        grid_(model, named(model, stages.levels))
    retrain(model, pool, epochs=stages.finish, lr=stages.finish_lr, seed=seed + 1, what="codes")
    return clear_dead_units_(ungrid_(unshare_(model)))


def written(model: nn.Sequential, stages: Stages, path: Path) -> Report:
    """The file: codes and gaps Huffman coded, with the shortest gap width of every layer, or both coded by context."""
    if stages.context:
        layers = {name: ContextRecipe(None, 8, neighbor=28 if layer.weight.shape[1:] == (784,) else 0) for name, layer in weight_layers(model).items()}
    else:
        layers = shortest_layers(model, torch.float16)
    return compress(model, path, Recipe(layers=layers, codebook=torch.float16, bias_bits=stages.bias_bits))


def shortest_layers(model: nn.Module, codebook: torch.dtype | None = None) -> dict[str, LayerRecipe]:
    """For layers that share few values already: each as it is, Huffman coded, with the gap width that makes it shortest.

    codebook: the dtype that shared values are stored in, by default the weight's own.
    """
    shared = {name: share(layer.weight, 8) for name, layer in weight_layers(model).items()}
    return {name: LayerRecipe(None, 8, best_index_bits(each.codes, each.codebook, codebook)) for name, each in shared.items()}


def named(model: nn.Module, each: tuple) -> dict:
    """One value a layer, by the layer's name."""
    return dict(zip(weight_layers(model), each, strict=True))


def _some(pool: Pool) -> torch.Tensor:
    return pool.batch(0, torch.arange(min(SCORED, len(pool.labels))))[0]
