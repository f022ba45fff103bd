"""Whole units of a chain of layers: what no longer matters is cleared, what is left is put first, or moves to a smaller network.

A *unit* is an output of a hidden Linear layer or a channel of a hidden Conv layer. Everything here is exact: the network computes
the same function before and after (up to the rounding of float sums), except `drop_units_`, which is pruning by whole units.
The model is an `nn.Sequential` of Linear, Conv2d without padding or groups, ReLU, MaxPool2d, Flatten, Dropout and Identity.
"""

import copy
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from qtoolkit.compression.pruning import _input_rms

_BETWEEN = (nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity)


def _chain(model: nn.Module) -> dict[str, nn.Module]:
    """The Linear and Conv2d layers of a model made of what this module understands."""
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"model is a {type(model).__name__}, expected an nn.Sequential: units are followed from layer to layer")
    layers = {name: m for name, m in model.named_children() if isinstance(m, (nn.Linear, nn.Conv2d))}
    others = [m for name, m in model.named_children() if name not in layers and not isinstance(m, _BETWEEN)]
    padded = [m for m in layers.values() if isinstance(m, nn.Conv2d) and (m.padding not in (0, (0, 0)) or m.groups != 1)]
    if others or padded or any(m.bias is None for m in layers.values()):
        raise ValueError(f"units can be followed through Linear, Conv2d (no padding, no groups; all with bias) and {[k.__name__ for k in _BETWEEN]}, "
                         f"given {(others + padded)[:1] or 'a layer without bias'}")
    return layers


def _by_unit(layer: nn.Module, units: int) -> Tensor:
    """The weight as (out, units, weights a unit): a unit feeds several inputs after Flatten, or a whole kernel."""
    return layer.weight.data.reshape(layer.weight.shape[0], units, -1)


@torch.no_grad()
def clear_dead_units_(model: nn.Sequential) -> nn.Sequential:
    """Set to 0 every weight and bias that cannot change the output, in place, again and again until there is none.

    A unit that nobody reads loses its weights and bias. A unit that reads nothing says the constant relu(b): its readers add it to
    their biases and lose the weights.
    """
    layers, before = list(_chain(model).values()), -1
    while before != (before := sum(int((p != 0).sum()) for p in model.parameters())):
        for layer, reader in pairwise(layers):
            read = _by_unit(reader, len(layer.bias))
            unread = ~(read != 0).any(2).any(0)
            layer.weight[unread], layer.bias[unread] = 0, 0
            constant = ~(layer.weight.flatten(1) != 0).any(1)
            reader.bias += read[:, constant].sum(2) @ layer.bias[constant].relu()
            read[:, constant], layer.bias[constant] = 0, 0
    return model


def living_units(model: nn.Sequential) -> dict[str, Tensor]:
    """For every hidden layer, the units that have any weight: bool (units,)."""
    layers = _chain(model)
    return {name: (layer.weight.flatten(1) != 0).any(1) for name, layer in list(layers.items())[:-1]}


@torch.no_grad()
def sort_units_(model: nn.Sequential) -> nn.Sequential:
    """Renumber the hidden units of every layer, those with most weights first, in place: a free gain for the coder of the places.

    See: book/chapters/19-a-network-in-a-file.ipynb#beyond-a-grid-and-a-context
    """
    for layer, reader in pairwise(_chain(model).values()):
        order = (layer.weight.flatten(1) != 0).sum(1).argsort(descending=True, stable=True)
        read = _by_unit(reader, len(layer.bias))
        read.copy_(read[:, order].clone())
        layer.weight.copy_(layer.weight[order].clone())
        layer.bias.copy_(layer.bias[order].clone())
    return model


@torch.no_grad()
def drop_units_(model: nn.Sequential, keep: Mapping[str, int], inputs: Tensor) -> nn.Sequential:
    """Keep the `keep[name]` units of a hidden layer that its readers hear most, clear the others, in place.

    Score of a unit: sum over its outgoing weights of (w * rms(x))^2, x what the reader receives on a batch of `inputs`.
    """
    layers = _chain(model)
    heard = _input_rms(model, inputs)
    for (name, layer), (next_name, reader) in pairwise(layers.items()):
        if name in keep:
            rms = heard[next_name].reshape(1, len(layer.bias), -1)
            score = (_by_unit(reader, len(layer.bias)) * rms).square().sum((0, 2))
            _by_unit(reader, len(layer.bias))[:, score.argsort(descending=True)[keep[name]:]] = 0
    return clear_dead_units_(model)


@torch.no_grad()
def shrunk(model: nn.Sequential) -> nn.Sequential:
    """A smaller network of the same function: the dead units of `model` are left out. Clear and sort first."""
    layers, small = list(_chain(model).items()), copy.deepcopy(model)
    alive = living_units(model)
    for index, (name, layer) in enumerate(layers):
        rows = alive.get(name, torch.ones(len(layer.bias), dtype=torch.bool))
        weight = layer.weight[rows]
        if index:
            before, last = alive[layers[index - 1][0]], layers[index - 1][1]
            weight = weight.reshape(len(weight), len(last.bias), -1)[:, before].reshape(len(weight), -1, *layer.weight.shape[2:])
        target = small.get_submodule(name)
        target.weight, target.bias = nn.Parameter(weight.clone()), nn.Parameter(layer.bias[rows].clone())
        outputs, fan = weight.shape[:2]
        target.__dict__.update({"in_features": fan, "out_features": outputs} if isinstance(layer, nn.Linear)
                               else {"in_channels": fan, "out_channels": outputs})
    return small


@torch.no_grad()
def grown(small: nn.Sequential, like: nn.Sequential) -> nn.Sequential:
    """The network of `like`'s shapes whose first units are those of `small`, the others dead: the inverse of `shrunk` after sorting."""
    large = copy.deepcopy(like)
    units = None
    for name, layer in _chain(large).items():
        source = small.get_submodule(name)
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
        read = _by_unit(layer, units or 1)
        own = _by_unit(source, units_small if units else 1)
        read[:len(own), :own.shape[1]] = own
        layer.bias[:len(source.bias)] = source.bias
        units, units_small = len(layer.bias), len(source.bias)
    return large
