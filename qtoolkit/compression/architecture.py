"""How a file says which network its tensors belong to: a few bytes a module, no pickle, no code.

A network is described when it is a (nested) `nn.Sequential` of the modules in `MODULES`. One byte names the kind, then come
the settings that its tensors do not already tell (a Linear layer needs none: its weight's shape is in the file). Any other
network is stored without a description, and the reader must bring the model.
"""

import math
import re
import struct
from collections.abc import Mapping

import torch
from torch import nn

from qtoolkit.compression.container import BadFile, Reader, varint

_MAX_DEPTH, _MAX_SETTING = 16, 1 << 16
Shapes = Mapping[str, tuple[int, ...]]

# Kind number -> (module, its settings). A setting is one number, or two (height, width); float settings are float64.
MODULES: dict[int, tuple[type[nn.Module], tuple[str, ...]]] = {
    2: (nn.Flatten, ()),
    3: (nn.Linear, ()),
    4: (nn.Conv2d, ("stride", "padding", "dilation", "groups")),
    5: (nn.BatchNorm1d, ("eps", "momentum")),
    6: (nn.BatchNorm2d, ("eps", "momentum")),
    7: (nn.ReLU, ()),
    8: (nn.MaxPool2d, ("kernel_size", "stride", "padding")),
    9: (nn.AvgPool2d, ("kernel_size", "stride", "padding")),
    10: (nn.AdaptiveAvgPool2d, ("output_size",)),
    11: (nn.Dropout, ("p",)),
    12: (nn.Identity, ()),
    13: (nn.Sigmoid, ()),
    14: (nn.Tanh, ()),
    15: (nn.GELU, ()),
    16: (nn.ReLU6, ()),
}
_SEQUENTIAL = 1
_KINDS = {module: kind for kind, (module, _) in MODULES.items()}
_FLOATS = ("eps", "momentum", "p")


def describe(model: nn.Module) -> bytes | None:
    """The description of `model`, or None when it is not made of `MODULES` alone.

    >>> describe(nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())).hex()
    '0103020307'
    """
    try:
        description = _describe(model)
        rebuilt = build(description, {name: tuple(t.shape) for name, t in model.state_dict().items()})
    except (KeyError, TypeError, ValueError, RuntimeError, struct.error):
        return None
    return description if _settings(rebuilt) == _settings(model) else None


def _settings(model: nn.Module) -> str:
    """Everything that repr shows of a model, with (2, 2) and 2 written alike."""
    return re.sub(r"\((\d+), \1\)", r"\1", repr(model))


def _describe(module: nn.Module) -> bytes:
    if type(module) is nn.Sequential:
        children = dict(module.named_children())
        if list(children) != [str(i) for i in range(len(children))]:
            raise ValueError("named children")
        return bytes([_SEQUENTIAL]) + varint(len(children)) + b"".join(map(_describe, children.values()))
    kind = _KINDS[type(module)]
    return bytes([kind]) + b"".join(_write_setting(module, name) for name in MODULES[kind][1])


def _write_setting(module: nn.Module, name: str) -> bytes:
    value = getattr(module, name)
    if name in _FLOATS:
        return struct.pack("<d", value)
    if name == "groups":
        return varint(value)
    height, width = value if isinstance(value, tuple) else (value, value)
    return varint(height) + varint(width)


def build(description: bytes, shapes: Shapes) -> nn.Module:
    """The described network on the meta device: shapes taken from the tensors named in `shapes`, no memory for weights.

    Raises BadFile for a description that does not parse or does not fit the tensors.
    """
    reader = Reader(description, "the network's description")
    try:
        with torch.device("meta"):
            model = _build(reader, shapes, "", 0)
    except BadFile:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, ZeroDivisionError, OverflowError) as error:
        raise BadFile(f"the network's description does not fit its tensors ({type(error).__name__}: {error}); the file is damaged") from None
    reader.finish()
    return model


def _build(reader: Reader, shapes: Shapes, path: str, depth: int) -> nn.Module:
    kind = reader.u8()
    if kind == _SEQUENTIAL:
        count = reader.varint()
        if depth > _MAX_DEPTH or count > reader.left:
            raise BadFile(f"the network's description nests {depth} deep with {count} modules; the file is damaged")
        return nn.Sequential(*(_build(reader, shapes, f"{path}{i}.", depth + 1) for i in range(count)))
    if kind not in MODULES:
        raise BadFile(f"the network's description has module kind {kind}, which this version does not know")
    module, names = MODULES[kind]
    settings = {name: _read_setting(reader, name) for name in names}
    return module(*_sizes(module, shapes, path, settings), **settings)


def _read_setting(reader: Reader, name: str) -> float | int | tuple[int, int]:
    if name in _FLOATS:
        value = struct.unpack("<d", reader.take(8))[0]
        if not math.isfinite(value):
            raise BadFile(f"the network's description has {name} = {value}; the file is damaged")
        return value
    values = tuple(reader.varint() for _ in range(1 if name == "groups" else 2))
    if max(values) > _MAX_SETTING:
        raise BadFile(f"the network's description has {name} = {values}, expected at most {_MAX_SETTING}; the file is damaged")
    return values[0] if len(values) == 1 else values


def _sizes(module: type[nn.Module], shapes: Shapes, path: str, settings: dict) -> tuple:
    """What a constructor needs to know of the tensors; adds the switches (bias, affine, ...) that they imply to `settings`."""
    if module in (nn.Linear, nn.Conv2d):
        settings["bias"] = f"{path}bias" in shapes
        outputs, inputs, *kernel = shapes[f"{path}weight"]
        return (inputs, outputs) if module is nn.Linear else (inputs * settings["groups"], outputs, tuple(kernel))
    if module in (nn.BatchNorm1d, nn.BatchNorm2d):
        settings["affine"], settings["track_running_stats"] = f"{path}weight" in shapes, f"{path}running_mean" in shapes
        return shapes.get(f"{path}weight", shapes.get(f"{path}running_mean"))
    return ()
