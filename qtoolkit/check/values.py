"""Values that travel in a key file: numbers, tensors, tuples and refusals, as plain JSON and back, and how they are compared."""

import math
from dataclasses import dataclass

import numpy as np
import torch

AS_EXPECTED = {"as": "expected"}  # in a key, instead of a mistake's value: the right one
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class Raises:
    """Instead of a value: the call ended in one of these exceptions, by name (empty: in any)."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnyWrong:
    """Instead of a value: anything but the right answer. What arithmetic without a definition gives, such as 200.0 cast to int8."""


def encode(value) -> object:
    """A value as JSON. Tensors keep dtype, shape and whether their memory is contiguous.

    >>> encode(torch.tensor([1.5, float("nan")]))
    {'tensor': 'float32', 'shape': [2], 'data': [1.5, 'nan']}
    """
    if isinstance(value, torch.Tensor):
        coded = {"tensor": str(value.dtype).removeprefix("torch."), "shape": list(value.shape),
                 "data": [_number(v) for v in value.flatten().tolist()]}
        return coded if value.is_contiguous() else coded | {"transposed": True}
    if isinstance(value, tuple):
        return {"tuple": [encode(v) for v in value]}
    if isinstance(value, list):
        return [encode(v) for v in value]
    if isinstance(value, Raises):
        return {"raises": list(value.names)}
    return {"wrong": True} if isinstance(value, AnyWrong) else _number(value)


def _number(value):
    """JSON has no NaN and no infinity; nine digits tell every float32 apart."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.9g}") if math.isfinite(value) else str(value)


def decode(coded) -> object:
    """Undo `encode`."""
    if isinstance(coded, list):
        return [decode(v) for v in coded]
    if not isinstance(coded, dict):
        return _SPECIAL.get(coded, coded) if isinstance(coded, str) else coded
    if "tuple" in coded:
        return tuple(decode(v) for v in coded["tuple"])
    if "raises" in coded:
        return Raises(tuple(coded["raises"]))
    if "wrong" in coded:
        return AnyWrong()
    data = [_SPECIAL.get(v, v) if isinstance(v, str) else v for v in coded["data"]]
    tensor = torch.tensor(data, dtype=getattr(torch, coded["tensor"])).reshape(coded["shape"])
    return tensor.mT.contiguous().mT if coded.get("transposed") else tensor


def difference(expected, got, tolerance: float) -> str | None:
    """What distinguishes `got` from `expected`, in words; None if nothing does.

    Only exact built-in types, numpy numbers and plain tensors are compared, by their numbers: an object with an `==` of its
    own gains nothing, and one that breaks when it is looked at is told so.

    >>> difference(torch.tensor([1, 2]), torch.tensor([1, 3]), 0)
    'at index 1: expected 2, got 3'
    """
    try:
        return _difference(expected, got, tolerance)
    except Exception as error:
        return f"expected {describe(expected)}, got a {type(got).__name__} that cannot be compared with it ({type(error).__name__})"


def numbers(value):
    """A value without its types: tensors as float64, numbers as float, lists as tuples; to see whether only a type is wrong."""
    if type(value) is torch.Tensor and _plain(value):
        return value.detach().double() if value.dim() else float(value)
    if isinstance(value, (tuple, list)):
        return tuple(numbers(v) for v in value)
    return float(value) if isinstance(value, (int, float, np.number)) and type(value) is not bool else value


def _difference(expected, got, tolerance: float) -> str | None:
    if isinstance(expected, Raises):
        same = isinstance(got, Raises) and _names_match(expected, got)
        return None if same else f"expected {describe(expected)}, got {describe(got)}"
    if isinstance(got, (Raises, AnyWrong)):
        return f"expected {describe(expected)}, got {describe(got)}"
    if isinstance(expected, torch.Tensor):
        return _tensor_difference(expected, got, tolerance)
    if isinstance(expected, (tuple, list)):
        return _sequence_difference(expected, got, tolerance)
    return _scalar_difference(expected, got, tolerance)


def _names_match(expected: Raises, got: Raises) -> bool:
    return not expected.names or not got.names or bool(set(expected.names) & set(got.names))


def _tensor_difference(expected: torch.Tensor, got, tolerance: float) -> str | None:
    if type(got) is not torch.Tensor:
        return f"expected a tensor, got {describe(got)}"
    if not _plain(got):
        return f"expected an ordinary tensor of real numbers on the CPU, got {got.dtype} on {got.device.type}, {got.layout}"
    if got.shape != expected.shape:
        return f"expected shape {tuple(expected.shape)}, got shape {tuple(got.shape)}"
    if got.dtype != expected.dtype:
        return f"expected dtype {expected.dtype}, got dtype {got.dtype}"
    wrong = ~_close(expected.double(), got.detach().double(), tolerance)
    if not wrong.any():
        return None
    index = tuple(wrong.nonzero()[0].tolist())
    where = f"at index {index[0] if len(index) == 1 else index}: " if index else ""
    more = f" ({int(wrong.sum())} of {wrong.numel()} values differ)" if wrong.sum() > 1 else ""
    return f"{where}expected {describe(expected[index].item())}, got {describe(got[index].item())}{more}"


def _plain(tensor: torch.Tensor) -> bool:
    """Whether its numbers can be read: real, in memory, one beside the other."""
    return tensor.device.type == "cpu" and tensor.layout == torch.strided and not tensor.is_complex()


def _close(expected: torch.Tensor, got: torch.Tensor, tolerance: float) -> torch.Tensor:
    same_nan = expected.isnan() & got.isnan()
    return same_nan | (expected == got) | ((expected - got).abs() <= tolerance * expected.abs().clamp(min=1e-6))


def _sequence_difference(expected, got, tolerance: float) -> str | None:
    if type(got) not in (tuple, list) or len(got) != len(expected):
        return f"expected {len(expected)} values {describe(expected)}, got {describe(got)}"
    for position, (want, have) in enumerate(zip(expected, got, strict=True)):
        if found := _difference(want, have, tolerance):
            return f"value {position + 1} of {len(expected)}: {found}"
    return None


def _scalar_difference(expected, got, tolerance: float) -> str | None:
    if type(got) is torch.Tensor and got.dim() == 0 or type(got).__module__ == "numpy" and isinstance(got, np.generic):
        got = got.item()
    if type(expected) in (bool, str, type(None)) or type(got) not in (int, float):
        return None if type(got) is type(expected) and got == expected else f"expected {describe(expected)}, got {describe(got)}"
    if type(expected) is int and type(got) is float:
        return f"expected the integer {expected}, got the float {describe(got)}"
    want, have = (torch.tensor(float(number), dtype=torch.float64) for number in (expected, got))
    return None if _close(want, have, tolerance) else f"expected {describe(expected)}, got {describe(got)}"


def describe(value, length: int = 160) -> str:
    """A value in one short line."""
    if isinstance(value, Raises):
        return f"a {' or '.join(value.names)}" if value.names else "an error"
    if type(value) is torch.Tensor:
        text = _describe_tensor(value)
    elif type(value) is float:
        text = f"{value:.6g}"
    elif isinstance(value, (tuple, list)):
        text = ("({})" if isinstance(value, tuple) else "[{}]").format(", ".join(describe(v) for v in value))
    elif type(value) in (int, bool, str, type(None)):
        text = repr(value)
    else:
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= length else text[: length - 3] + "..."


def _describe_tensor(tensor: torch.Tensor) -> str:
    """Small tensors in full, six digits a number; large ones by their shape."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.numel() > 24 or tensor.numel() == 0 or tensor.device.type != "cpu":
        return f"a {kind} tensor of shape {tuple(tensor.shape)}"

    def rows(values) -> str:
        if isinstance(values, list):
            return f"[{', '.join(map(rows, values))}]"
        return f"{values:.6g}" if isinstance(values, float) else str(values)

    return f"tensor({rows(tensor.tolist())}, {kind})"
