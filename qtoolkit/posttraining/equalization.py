r"""Neighboring layers share their ranges out evenly, so that one scale suits all channels of a tensor.

A ReLU lets a positive factor pass: relu(s x) = s relu(x). So channel i of a layer can be divided by s_i if the next layer multiplies
the weights that read it by s_i, and the network computes what it did before.

    equalized = equalize(model)                     every pair of layers that allows it, until nothing moves
    s = equalization_factors(range_1, range_2)      one pair, as numbers
    absorb_high_bias(first, second, mean, std)      what a ReLU never cuts off moves on, and the activations' range shrinks
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from qtoolkit.posttraining._channels import LAYERS, input_channels, like, over_taps, per_input, per_weight, response
from qtoolkit.quantizers import _checks

_LET_FACTORS_PASS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d,
                     nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_MOST_ROUNDS, _STILL = 40, 1e-4


def equalization_factors(first: Tensor, second: Tensor) -> Tensor:
    r"""s with r1 / s = r2 s: the channel's weights reach equally far on both sides.

        s_i = sqrt(r1_i r2_i) / r2_i = sqrt(r1_i / r2_i)

    first, second: (channels,), the largest |weight| that writes channel i, and the largest that reads it. Returns (channels,), 1 where
    one of them is 0: such a channel carries nothing. The product of the two relative ranges is then as large as it can be.
    Raises TypeError or ValueError for what is not real or finite, negative, or of two shapes.
    Source: Nagel et al. 2019, section 4.1; Meller et al. 2019.

    >>> equalization_factors(torch.tensor([4.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 5.0]))
    tensor([2., 1., 1.])
    """
    for name, ranges in (("first", first), ("second", second)):
        if (_checks.real_tensor(ranges, name) < 0).any() or ranges.shape != first.shape:
            raise ValueError(f"{name} has shape {tuple(ranges.shape)} and the smallest value {ranges.min().item():g}, expected ranges of 0 or more, "
                             f"as many as first has: {tuple(first.shape)}")
    return torch.where((first > 0) & (second > 0), (first / second.clamp(min=torch.finfo(second.dtype).tiny)).sqrt(), 1.0)


def equalize(model: nn.Sequential) -> nn.Sequential:
    """A copy of `model` in which each pair of neighboring layers has equal ranges in every channel between them.

    A pair is a Linear or Conv2d, then only modules that let a positive factor pass (ReLU and its leaky kin, pooling, dropout, flatten),
    then a Linear or Conv2d, all in one nn.Sequential. GELU, sigmoid and ReLU6 do not let it pass: such neighbors stay as they are. Pairs
    that share a layer pull at it in turn, so all are visited until no factor is further than 0.0001 from 1, at most 40 times. The output is
    the same up to float32 rounding. Fold batch norms first (`fold_batch_norms`): between two layers they stop a factor.
    Raises TypeError unless `model` is an nn.Sequential, ValueError if it has no such pair or uses a layer twice.
    Source: Nagel et al. 2019, section 4.1; Meller et al. 2019.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[8.0, 0.0], [0.0, 0.5]])), model[2].weight.copy_(torch.tensor([[2.0, 2.0]]))
    >>> [layer.weight.detach().abs().amax(axis).tolist() for layer, axis in zip(equalize(model)[::2], (1, 0))]
    [[4.0, 1.0], [4.0, 1.0]]
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"model is a {type(model).__name__}, expected an nn.Sequential, whose order of layers is known")
    layers = [module for _, module in model.named_modules(remove_duplicate=False) if isinstance(module, LAYERS)]
    if len(set(layers)) < len(layers):
        raise ValueError("the model uses a layer twice: a factor that suits one place would change the other")
    equal = copy.deepcopy(model)
    pairs = _pairs(equal)
    if not pairs:
        raise ValueError("no two layers of the model are neighbors that let a factor pass (Linear or Conv2d, ReLU, Linear or Conv2d in one "
                         "nn.Sequential); fold batch norms first, and note that GELU and ReLU6 do not let one pass")
    for _ in range(_MOST_ROUNDS):
        if max(_equalize_pair(*pair) for pair in pairs) < _STILL:
            break
    return equal


def absorb_high_bias(first: nn.Module, second: nn.Module, mean: Tensor, std: Tensor, sigmas: float = 3.0) -> tuple[Tensor, Tensor]:
    r"""The biases of two layers with a ReLU between them, after what the ReLU does not touch has moved from the first to the second.

        c = max(0, mean - 3 std),    relu(x) - c = relu(x - c) where x >= c,    so    b1' = b1 - c,    b2' = b2 + W2 c

    mean, std: (channels,), of the first layer's output (beta and |gamma| of its batch norm). For normal outputs x < c is rare (1 in 740
    at 3 sigmas), so the function stays nearly the same, and the activations' range shrinks by c. Equalization asks for it: dividing
    weights by a small s makes biases, and so activations, large. Returns (b1', b2').
    Raises TypeError or ValueError for other layers, a first layer without bias, or what does not fit.
    Source: Nagel et al. 2019, section 4.1.3.

    >>> first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> b1, b2 = absorb_high_bias(first, second, mean=torch.tensor([5.0]), std=torch.tensor([1.0]))
    >>> torch.allclose(first.bias - b1, torch.tensor([2.0])), torch.allclose(b2 - second.bias, 2 * second.weight[0])
    (True, True)
    """
    if not (isinstance(first, LAYERS) and isinstance(second, LAYERS)) or first.bias is None:
        raise TypeError(f"the layers are a {type(first).__name__} and a {type(second).__name__}, expected Linear or Conv2d, the first with a bias")
    for name, value in (("mean", mean), ("std", std)):
        if _checks.real_tensor(value, name).shape != first.bias.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {tuple(first.bias.shape)}: one for each output of the first layer")
    moved = (mean - sigmas * std).clamp(min=0)
    arrives = response(second, second.weight.detach(), moved.repeat_interleave(_pixels(first, second)))
    return first.bias.detach() - moved, arrives if second.bias is None else second.bias.detach() + arrives


def _pairs(model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Layers with nothing but modules between them that let a factor pass."""
    pairs = []
    for parent in (module for module in model.modules() if isinstance(module, nn.Sequential)):
        before, flat = None, False
        for module in parent:
            if isinstance(module, LAYERS):
                if before is not None and _are_neighbors(before, module, flat):
                    pairs.append((before, module))
                before, flat = module, False
            elif isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
                flat = True
            elif not isinstance(module, _LET_FACTORS_PASS):
                before = None
    return pairs


def _are_neighbors(first: nn.Module, second: nn.Module, flat: bool) -> bool:
    """Whether the outputs of `first` are the inputs of `second`, channel by channel; a flat image is its channels, pixel by pixel."""
    if isinstance(first, nn.Conv2d) and isinstance(second, nn.Linear):
        return flat and second.in_features % first.out_channels == 0
    return type(first) is type(second) and len(first.weight) == input_channels(second)


def _pixels(first: nn.Module, second: nn.Module) -> int:
    """Inputs of `second` that one output of `first` becomes: 1, or behind a Flatten as many as the image has pixels."""
    if input_channels(second) % len(first.weight):
        raise ValueError(f"{len(first.weight)} outputs do not divide the {input_channels(second)} inputs of the second layer, expected neighbors")
    return input_channels(second) // len(first.weight)


@torch.no_grad()
def _equalize_pair(first: nn.Module, second: nn.Module) -> float:
    """Equal ranges for two neighbors, in place; returns how far the furthest factor is from 1."""
    read = per_input(second, over_taps(second.weight.abs(), torch.amax)).amax(0).reshape(len(first.weight), -1).amax(1)
    factors = equalization_factors(first.weight.abs().flatten(1).amax(1), read)
    first.weight /= like(factors, first.weight)
    if first.bias is not None:
        first.bias /= factors
    second.weight *= like(per_weight(second, factors.repeat_interleave(_pixels(first, second))), second.weight)
    return (factors - 1).abs().max().item()
