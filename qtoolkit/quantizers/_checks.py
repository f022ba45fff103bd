"""What every public function of this room refuses, said in one voice: what was given, what was expected, what to do."""

import torch
from torch import Tensor

MAX_BITS = 16


def tensor(x: Tensor, name: str = "x") -> Tensor:
    """Return `x` if it is a tensor, else raise TypeError."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} is a {type(x).__name__}, expected a torch.Tensor; convert it with torch.as_tensor")
    return x


def real_tensor(x: Tensor, name: str = "x") -> Tensor:
    """Return `x` if it is a non-empty tensor of finite real numbers, else raise TypeError or ValueError."""
    if not tensor(x, name).is_floating_point():
        raise TypeError(f"{name} has dtype {x.dtype}, expected a floating-point dtype; convert it with {name}.float()")
    if x.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(x.shape)}), expected at least one value")
    if not x.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity, expected finite values; remove or replace them first")
    return x


def code_tensor(codes: Tensor, name: str = "codes") -> Tensor:
    """Return `codes` if it is a tensor of integers, else raise TypeError."""
    if tensor(codes, name).is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {codes.dtype}, expected an integer dtype; quantize real numbers first")
    return codes


def whole_number(value: int, name: str) -> int:
    """Return `value` if it is an int, else raise TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), expected an int")
    return value


def bit_width(bits: int, name: str = "bits", smallest: int = 1, largest: int = MAX_BITS) -> int:
    """Return `bits` if it is a whole number from `smallest` to `largest`, else raise TypeError or ValueError."""
    if not smallest <= whole_number(bits, name) <= largest:
        raise ValueError(f"{name} is {bits}, expected a value from {smallest} to {largest}")
    return bits


def positive_int(value: int, name: str, smallest: int = 1) -> int:
    """Return `value` if it is a whole number of at least `smallest`, else raise TypeError or ValueError."""
    if whole_number(value, name) < smallest:
        raise ValueError(f"{name} is {value}, expected {smallest} or more")
    return value


def real_number(value, name: str) -> Tensor:
    """Turn a float or a real tensor into a finite real tensor (half precision is widened to float32)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = torch.tensor(float(value))
    return widened(real_tensor(value, name))


def widened(x: Tensor) -> Tensor:
    """float16 and bfloat16 become float32, in which all arithmetic on ranges and codes is done."""
    return x if x.dtype == torch.float64 else x.float()


def scale_tensor(scale, name: str = "scale") -> Tensor:
    """Turn a scale into a tensor and refuse whatever is not a positive, finite number."""
    scale = real_number(scale, name)
    if not (scale > 0).all():
        raise ValueError(f"{name} has the value {scale.min().item():g}, expected positive steps; see choose_qparams")
    return scale


def zero_point_tensor(zero_point, name: str = "zero_point") -> Tensor:
    """Turn a zero point into an int32 tensor and refuse real numbers: 0.0 must have a code of its own."""
    if isinstance(zero_point, int) and not isinstance(zero_point, bool):
        return torch.tensor(zero_point, dtype=torch.int32)
    return code_tensor(zero_point, name).to(torch.int32)


def fits(name: str, x: Tensor, **parameters: Tensor) -> None:
    """Raise ValueError unless every parameter broadcasts to the shape of x."""
    for other, parameter in parameters.items():
        try:
            parameter.expand(x.shape)
        except RuntimeError:
            raise ValueError(f"{other} has shape {tuple(parameter.shape)}, which does not broadcast to {name} of shape "
                             f"{tuple(x.shape)}; one scale a channel is shaped (channels, 1, ...)") from None


def code_range(qmin: int, qmax: int) -> None:
    """Raise TypeError or ValueError unless qmin..qmax are at least 2 and at most 2^16 whole numbers."""
    if not all(isinstance(q, int) and not isinstance(q, bool) for q in (qmin, qmax)):
        raise TypeError(f"qmin is {qmin!r} and qmax {qmax!r}, expected ints")
    if not 1 <= qmax - qmin < 2**MAX_BITS:
        raise ValueError(f"the codes go from qmin={qmin} to qmax={qmax}, expected 2 to {2**MAX_BITS} codes; see Scheme.qmin, .qmax")
