"""Which input channel a weight reads: the same arithmetic for Linear and Conv2d, with and without groups."""

import torch
from torch import Tensor, nn

LAYERS = (nn.Linear, nn.Conv2d)


def input_channels(layer: nn.Module) -> int:
    """How many inputs a layer reads."""
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def per_weight(layer: nn.Module, values: Tensor) -> Tensor:
    """(inputs,) -> (outputs, inputs of a group): the value that belongs to the input which each weight reads."""
    groups = getattr(layer, "groups", 1)
    outputs = len(layer.weight)
    return values.reshape(groups, 1, -1).expand(-1, outputs // groups, -1).reshape(outputs, -1)


def per_input(layer: nn.Module, values: Tensor) -> Tensor:
    """(outputs, inputs of a group) -> (outputs of a group, inputs): all that belongs to an input, in one column."""
    groups = getattr(layer, "groups", 1)
    return values.reshape(groups, len(values) // groups, -1).movedim(0, 1).flatten(1)


def response(layer: nn.Module, weight: Tensor, inputs: Tensor) -> Tensor:
    """(inputs,) -> (outputs,): what `layer` with this weight, and without its bias, makes of inputs that are the same at every tap."""
    return (over_taps(weight, torch.sum) * per_weight(layer, inputs)).sum(1)


def like(vector: Tensor, weight: Tensor) -> Tensor:
    """(outputs,) or (outputs, inputs), with axes of 1 until it broadcasts against the weight."""
    return vector.reshape(*vector.shape, *[1] * (weight.dim() - vector.dim()))


def over_taps(weight: Tensor, reduce) -> Tensor:
    """(outputs, inputs, ...) -> (outputs, inputs): `reduce` over the taps of a convolution."""
    return weight if weight.dim() == 2 else reduce(weight.flatten(2), 2)
