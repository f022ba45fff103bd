"""Pruning by hand: a threshold to drag over a network's weights, and what the network still reads without retraining."""

from collections.abc import Mapping
from copy import deepcopy

import torch
import traitlets
from torch import Tensor, nn

from qtoolkit.compression.pruning import Masks, magnitude
from qtoolkit.lab.data import Digits
from qtoolkit.lab.train import misread
from qtoolkit.lab.widgets.base import Widget, synced

BINS, LAYERS = 60, 4  # bars of a histogram; layers that fit a page
Rules = Mapping[str, Mapping[str, Mapping[str, Tensor]]]


class PullTheThreshold(Widget):
    """Histograms of a network's layers, hollow where weights are pruned, and the error without retraining; controls: how far, by which rule.

    rules: {rule: {setting: masks}}, for instance {"one threshold": {"0.01": {layer: |w| > 0.01}}}; the first setting of a rule is shown
    first and every rule has as many. The error of each is measured here on all `digits`, pruned weights 0; `model` stays as it is.
    Raises ValueError for no rules, rules of different lengths or fewer than two settings, masks that miss a layer, more than four layers.
    """

    module = "threshold.js"
    layers = synced(traitlets.List())   # [name, shape, weights]
    edges = synced(traitlets.List())
    counts = synced(traitlets.List())   # a list of bars for each layer
    rules = synced(traitlets.List())    # [rule, [[setting, cut of each layer, kept in each layer, digits misread], ...]]
    total = synced(traitlets.Int())
    dense = synced(traitlets.Int())

    def __init__(self, model: nn.Module, rules: Rules, digits: Digits):
        scores = magnitude(model)
        _check(rules, scores)
        steps = [[rule, [_step(model, scores, setting, masks, digits) for setting, masks in settings.items()]] for rule, settings in rules.items()]
        edges, counts = _bars(model, scores, 1.2 * max(cut for _, rows in steps for row in rows for cut in row[1]))
        super().__init__(layers=[[name, " × ".join(map(str, score.shape)), score.numel()] for name, score in scores.items()],
                         edges=edges, counts=counts, rules=steps, total=len(digits), dense=misread(model, digits))


def _step(model: nn.Module, scores: Mapping[str, Tensor], setting: str, masks: Mapping[str, Tensor], digits: Digits) -> list:
    """[setting, largest pruned magnitude of each layer, weights kept in each layer, digits misread]."""
    pruned = deepcopy(model)
    Masks(pruned, masks)
    cuts = [round(float(score[~masks[name]].max()), 5) if not masks[name].all() else 0.0 for name, score in scores.items()]
    return [setting, cuts, [int(masks[name].sum()) for name in scores], misread(pruned, digits)]


def _bars(model: nn.Module, scores: Mapping[str, Tensor], reach: float) -> tuple[list[float], list[list[int]]]:
    """Edges from -reach to reach and each layer's counts; the few weights beyond are not drawn."""
    reach = reach or max(float(score.max()) for score in scores.values())
    weights = [model.get_submodule(name).weight.detach().float().flatten() for name in scores]
    return (torch.linspace(-reach, reach, BINS + 1).round(decimals=5).tolist(),
            [torch.histc(weight, BINS, -reach, reach).int().tolist() for weight in weights])


def _check(rules: Rules, scores: Mapping[str, Tensor]) -> None:
    if len({len(settings) for settings in rules.values()}) != 1 or min(map(len, rules.values())) < 2:
        raise ValueError(f"the rules have {[len(settings) for settings in rules.values()]} settings, expected at least one rule, two settings or more, as many in each")
    if len(scores) > LAYERS:
        raise ValueError(f"the network has {len(scores)} layers with weights, expected at most {LAYERS}")
    for rule, settings in rules.items():
        for setting, masks in settings.items():
            if set(masks) != set(scores):
                raise ValueError(f"'{rule}', {setting} has masks for {sorted(masks)}, expected one for each of {sorted(scores)}")
