"""Activations in codes, simulated: the input of a layer is quantized and read back before the layer sees it.

    quantize_(model, DynamicInputs(scheme))                               each input with its own range
    quantize_(model, StaticInputs(scheme, calibrate(model, batches)))     ranges frozen beforehand

Quantize inputs first and weights (`WeightOnly`) second: the layer is still found inside its wrapper.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qtoolkit.layers.api import find_layers
from qtoolkit.quantizers import Affine, DynamicRange, MinMaxObserver, Scheme, StaticRange, min_max
from qtoolkit.quantizers.scheme import checked_scheme


@dataclass(frozen=True)
class DynamicInputs:
    """Quantize the input of each layer with the range of that very input. With `PerToken()` each token has its own.

    Source: Gholami et al. 2021, section III-D.
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#when-the-light-changes

    >>> layer = DynamicInputs(Scheme(bits=8)).layer(nn.Linear(4, 2))
    >>> [name for name, _ in layer.named_children()]
    ['range', 'layer']
    """

    scheme: Scheme
    calibration: Callable[[Tensor], tuple[Tensor, Tensor]] = min_max

    def __post_init__(self):
        checked_scheme(self.scheme)

    def layer(self, module: nn.Module) -> nn.Sequential:
        """`module` behind a quantizer of its input."""
        return _behind(DynamicRange(self.scheme, self.calibration), module)


@dataclass(frozen=True)
class StaticInputs:
    """Quantize the input of each layer with a range from calibration; larger values saturate.

    observers: what `calibrate` returned for the same model. Source: Gholami et al. 2021, section III-D.
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#when-the-light-changes
    """

    scheme: Scheme
    observers: Mapping[nn.Module, MinMaxObserver]

    def __post_init__(self):
        checked_scheme(self.scheme)

    def layer(self, module: nn.Module) -> nn.Sequential:
        """`module` behind a quantizer of its input. Raises ValueError if the module was not calibrated."""
        if module not in self.observers:
            raise ValueError(f"{module} was not calibrated; call calibrate with the same model and filter_fn, before quantize_")
        lo, hi = self.observers[module].range()
        return _behind(StaticRange(Affine.from_range(lo.float(), hi.float(), self.scheme)), module)


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[Tensor], observer: Callable = MinMaxObserver,
              filter_fn: Callable[[nn.Module, str], bool] | None = None) -> dict[nn.Module, MinMaxObserver]:
    """Run the model over the batches and observe the input of every Linear and Conv2d that filter_fn chooses.

    observer: makes the observer of one layer, for instance `lambda: HistogramObserver(MSE(scheme))`. The model is run as it is;
    put it into eval mode first. Memory does not grow with the number of batches. Returns layer -> observer.
    Raises TypeError or ValueError as `quantize_` does, and ValueError without a batch.
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#how-much-calibration-is-enough
    See: book/chapters/03-calibration.ipynb#one-pass-bounded-memory

    >>> model = nn.Sequential(nn.Linear(4, 2))
    >>> calibrate(model, [torch.tensor([[-1.0, 0.0, 2.0, 3.0]])])[model[0]].range()
    (tensor([[-1.]]), tensor([[3.]]))
    """
    observers = {module: observer() for module in find_layers(model, filter_fn).values()}
    hooks = [m.register_forward_pre_hook(lambda m, args: observers[m].update(args[0])) for m in observers]
    try:
        count = 0
        for count, batch in enumerate(batches, start=1):
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not count:
        raise ValueError("batches is empty, expected at least one batch to calibrate with")
    return observers


def _behind(quantizer: nn.Module, module: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(range=quantizer, layer=module))
