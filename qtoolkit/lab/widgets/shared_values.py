"""A shared value and its gradient: every place that carries it, and the loss as the value really moves."""

from collections.abc import Callable

import torch
import traitlets
from torch import Tensor, nn
from torch.nn.utils import parametrize

from qtoolkit.compression.weight_sharing import is_shared
from qtoolkit.lab.widgets.base import Widget, float_bytes, synced

MOST_WEIGHTS, MOST_VALUES = 2048, 7     # cells that a phone can show, values that its buttons can name
POINTS = 65                             # losses measured on either side of each value


class SumTheGradients(Widget):
    """The places of one shared value, their gradients, and the measured loss around it; controls: value, sum or mean, learning rate.

    model: shared by `share_`; layer: the name of one of its layers, at most 2,048 weights and 7 values; loss: model -> scalar, the mean loss
    of some digits, which `data` names. Gradients come from autograd, losses from moving the value by up to `reach`; the script adds up. The
    model stays as it is. Raises ValueError for a layer that is not shared or too large to show, and for a reach that is not positive.
    """

    module = "sum_gradients.js"
    shape = synced(traitlets.List())
    codes = synced(traitlets.Bytes())
    gradients = synced(traitlets.Bytes())
    values = synced(traitlets.List())
    losses = synced(traitlets.List())   # one list of POINTS for each value
    reach = synced(traitlets.Float())
    data = synced(traitlets.Unicode())

    def __init__(self, model: nn.Module, layer: str, loss: Callable[[nn.Module], Tensor], data: str = "the digits", reach: float = 0.16):
        module = model.get_submodule(layer)
        if not is_shared(module):
            raise ValueError(f"the layer '{layer}' is not shared, expected one whose values `share_` made parameters")
        codes, values = module.parametrizations.weight[0].codes, module.parametrizations.weight.original
        if codes.numel() > MOST_WEIGHTS or not 1 <= len(values) <= MOST_VALUES or not reach > 0:
            raise ValueError(f"the layer '{layer}' has {codes.numel()} weights and {len(values)} values, reach is {reach}; "
                             f"expected at most {MOST_WEIGHTS} weights, 1 to {MOST_VALUES} values and a positive reach")
        super().__init__(
            shape=[len(codes), codes.numel() // len(codes)], codes=codes.to(torch.uint8).numpy().tobytes(), gradients=float_bytes(_gradients(model, module, loss)),
            values=[round(v, 6) for v in values.tolist()], losses=[_losses(model, values, i, loss, reach) for i in range(len(values))], reach=reach, data=data)


def _gradients(model: nn.Module, module: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Tensor:
    """dL/dW of every weight, as if each were free."""
    with parametrize.cached():
        return torch.autograd.grad(loss(model), module.weight)[0]


@torch.no_grad()
def _losses(model: nn.Module, values: Tensor, place: int, loss: Callable[[nn.Module], Tensor], reach: float) -> list[float]:
    before, out = values.detach().clone(), []
    for offset in torch.linspace(-reach, reach, POINTS, dtype=torch.float64).tolist():
        values[place] = before[place] + offset
        out.append(round(float(loss(model)), 6))
    values.copy_(before)
    return out
