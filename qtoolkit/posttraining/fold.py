"""Batch norms become part of the layer before them: what runs is one layer, and its weights are the ones to quantize."""

import copy

import torch
from torch import Tensor, nn

from qtoolkit.posttraining._channels import like

_PAIRS = {nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}


def fold_batch_norms(model: nn.Module) -> nn.Module:
    r"""A copy of `model` in which every batch norm has moved into the layer before it.

    In evaluation mode a batch norm is an affine map of each channel, so it can be multiplied into the weights:

        W' = W gamma / sqrt(var + eps),    b' = (b - mean) gamma / sqrt(var + eps) + beta

    Folded are a Conv2d with the BatchNorm2d, and a Linear with the BatchNorm1d, that directly follows it in the same
    nn.Sequential; an Identity takes the batch norm's place, so names stay. The output is the same up to float32 rounding.
    Raises TypeError unless `model` is a module, ValueError if it is in training mode, if a batch norm follows no such layer, keeps no
    running statistics, or if either of the two is used in several places: folding would change what the model computes.

    Source: Jacob et al. 2018, section 3.2, eq. 14; Gholami et al. 2021, section III-G.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> fold_batch_norms(model)[0].bias.shape
    torch.Size([8])
    """
    _check(model)
    folded = copy.deepcopy(model)
    uses = [module for _, module in folded.named_modules(remove_duplicate=False)]
    for parent in [module for module in folded.modules() if isinstance(module, nn.Sequential)]:
        for (_, layer), (name, norm) in zip(list(parent.named_children()), list(parent.named_children())[1:]):
            if _PAIRS.get(type(layer)) is type(norm) and uses.count(layer) == uses.count(norm) == 1:
                _absorb(layer, norm)
                setattr(parent, name, nn.Identity())
    _refuse_leftover(folded)
    return folded


def _check(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
    if model.training:
        raise ValueError("the model is in training mode, where a batch norm depends on its batch; call model.eval() first")
    for name, norm in model.named_modules():
        if isinstance(norm, tuple(_PAIRS.values())) and norm.running_var is None:
            raise ValueError(f"batch norm {name!r} keeps no running statistics (track_running_stats=False): it cannot be folded")


@torch.no_grad()
def _absorb(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Scale and shift of `norm` go into the weights and the bias of `layer`."""
    gain = torch.rsqrt(norm.running_var + norm.eps) * (1 if norm.weight is None else norm.weight)
    bias: Tensor | float = 0.0 if layer.bias is None else layer.bias
    shift = (bias - norm.running_mean) * gain + (0 if norm.bias is None else norm.bias)
    layer.weight = nn.Parameter(layer.weight * like(gain, layer.weight))
    layer.bias = nn.Parameter(shift)


def _refuse_leftover(model: nn.Module) -> None:
    left = [name for name, module in model.named_modules() if isinstance(module, tuple(_PAIRS.values()))]
    if left:
        raise ValueError(f"batch norm {left[0]!r} ({len(left)} in all) cannot be folded: it must directly follow a Conv2d (BatchNorm2d) or a "
                         "Linear (BatchNorm1d) in the same nn.Sequential, and neither of the two may be used in several places")
