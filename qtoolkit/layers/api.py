"""`quantize_`: one verb that turns the layers of a model into quantized ones, in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from qtoolkit.layers.weight_only import WeightOnlyConv2d, WeightOnlyLinear
from qtoolkit.quantizers import Affine, PerChannel, QTensor, Scheme, min_max
from qtoolkit.quantizers.scheme import checked_scheme


@dataclass(frozen=True)
class WeightOnly:
    """Store weights in codes of `scheme`, compute in real numbers. `calibration` maps weight rows to ranges.

    >>> WeightOnly(Scheme(bits=3)).layer(nn.Linear(8, 4, bias=False))
    WeightOnlyLinear(8 -> 4, 4 bits a weight)
    """

    scheme: Scheme = field(default_factory=lambda: Scheme(bits=8, granularity=PerChannel()))
    calibration: Callable[[Tensor], tuple[Tensor, Tensor]] = min_max

    def __post_init__(self):
        checked_scheme(self.scheme)

    def layer(self, module: nn.Linear | nn.Conv2d) -> nn.Module:
        """The quantized layer that replaces `module`."""
        weight = module.weight.detach()
        return _weight_only(module, Affine.fit(weight, self.scheme, self.calibration).encode(weight))


@dataclass(frozen=True)
class WeightCodes:
    """Store weights in the codes of any quantizer, compute in real numbers. `fit` maps a weight to its quantizer.

    >>> from qtoolkit.quantizers import Codebook, KMeans
    >>> WeightCodes(lambda weight: Codebook.fit(weight, KMeans(k=4))).layer(nn.Linear(32, 4, bias=False))
    WeightOnlyLinear(32 -> 4, 3 bits a weight)
    """

    fit: Callable[[Tensor], object]

    def layer(self, module: nn.Linear | nn.Conv2d) -> nn.Module:
        """The quantized layer that replaces `module`."""
        weight = module.weight.detach()
        return _weight_only(module, self.fit(weight).encode(weight))


@dataclass(frozen=True)
class DynamicInt8:
    """Weights in int8 per channel, inputs in int8 with a range found at run time, int32 sums, real outputs."""

    def layer(self, module: nn.Linear | nn.Conv2d) -> nn.Module:
        """The quantized layer that replaces `module`."""
        from qtoolkit.layers.int8 import Int8DynamicConv2d, Int8DynamicLinear

        replacement = Int8DynamicLinear if isinstance(module, nn.Linear) else Int8DynamicConv2d
        return replacement.from_float(module)


def _weight_only(module: nn.Linear | nn.Conv2d, weight: QTensor) -> nn.Module:
    replacement = WeightOnlyLinear if isinstance(module, nn.Linear) else WeightOnlyConv2d
    return replacement.from_float(module, weight)


def quantize_(model: nn.Module, config, filter_fn: Callable[[nn.Module, str], bool] | None = None) -> nn.Module:
    """Replace the Linear and Conv2d layers of `model` in place, as `config` says, and return the model.

    config: WeightOnly(scheme), WeightCodes(fit), DynamicInt8(), DynamicInputs(scheme), or any object whose `layer(module)` makes the replacement.
    filter_fn(module, name): return True for the layers to replace; None takes all. A layer used in several places is
    replaced once and stays shared. Subclasses of Linear and Conv2d are left alone: their owner may rely on them.
    Raises TypeError if `model` or `config` is of the wrong kind, ValueError if no layer was chosen or the model itself is the layer.
    The signature is torchao's.
    See: book/chapters/02-uniform-quantization.ipynb#bits-and-accuracy

    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> quantize_(model, WeightOnly(), filter_fn=lambda module, name: name == "2")[2]
    WeightOnlyLinear(4 -> 2, 16 bits a weight)
    """
    if isinstance(config, type) or not callable(getattr(config, "layer", None)):
        raise TypeError(f"config is {config!r}, expected an instance such as WeightOnly(scheme) or DynamicInt8()")
    chosen = find_layers(model, filter_fn)
    replacements = {module: config.layer(module) for module in dict.fromkeys(chosen.values())}
    for name, module in chosen.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, replacements[module].train(module.training))
    return model


def size_in_bytes(model: nn.Module) -> int:
    """Bytes of the parameters and buffers in the model's state, a shared tensor counted once.

    >>> size_in_bytes(nn.Linear(300, 100))
    120400
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
    state = model.state_dict(keep_vars=True).values()
    tensors = {id(t): t for t in state if isinstance(t, Tensor)}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def find_layers(model: nn.Module, filter_fn: Callable[[nn.Module, str], bool] | None = None) -> dict[str, nn.Module]:
    """name -> layer for every Linear and Conv2d that filter_fn chooses; a shared layer appears under each of its names.

    Raises TypeError if `model` is no module, ValueError if nothing was chosen or the model is itself the layer.

    >>> list(find_layers(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))))
    ['0', '2']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
    if type(model) in (nn.Linear, nn.Conv2d):
        raise ValueError(f"the model is itself a {type(model).__name__}, which cannot be replaced in place; "
                         "wrap it: quantize_(nn.Sequential(layer), config)")
    layers = {name: m for name, m in model.named_modules(remove_duplicate=False) if type(m) in (nn.Linear, nn.Conv2d)}
    chosen = {name: m for name, m in layers.items() if filter_fn is None or filter_fn(m, name)}
    if not chosen:
        raise ValueError(f"nothing to quantize: the model has {len(layers)} Linear or Conv2d layers "
                         f"({', '.join(layers) or 'none'}) and filter_fn chose none of them")
    return chosen
