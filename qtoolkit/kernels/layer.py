"""A layer as one block of bytes: what an operator takes, what a state_dict saves (layout: csrc/qk.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qtoolkit.kernels.reference import MAX_INPUTS

LAYER = 0x314C4B51
_HEADER = struct.Struct("<9i28x")


class Header(NamedTuple):
    """The first 64 bytes of an int8 layer: its kind, N, K, taps, the codes of output and input; of a tile-sparse layer how many tiles."""

    magic: int
    outputs: int
    inputs: int
    taps: int
    zero_point: int
    lowest: int
    highest: int
    input_zero_point: int
    tiles: int = 0

    @property
    def padded(self) -> int:
        """N, rounded up to 16."""
        return self.outputs + -self.outputs % 16

    @property
    def weight_at(self) -> int:
        """Where the weights begin: after the header and six arrays."""
        return _HEADER.size + 24 * self.padded

    @property
    def weight_bytes(self) -> int:
        """What the weights of a dense layer take."""
        return self.padded * self.taps * (self.inputs + -self.inputs % 4)

    def pack(self) -> Tensor:
        """The header as a tensor of bytes."""
        return header_bytes(_HEADER.pack(*self))


@dataclass(frozen=True)
class LayerCodes:
    """What a layer's bytes say. N outputs, K inputs.

    weight (N, K) int8 in -127..127, or (N, taps, K) of a convolution; bias (N,) int32, with the input's zero point absorbed;
    for int8 output:  multiplier, shift (N,) int32, zero_point, lowest, highest;
    for float output: scale, real_bias (N,) float32.
    """

    weight: Tensor
    bias: Tensor
    multiplier: Tensor
    shift: Tensor
    scale: Tensor
    real_bias: Tensor
    zero_point: int = 0
    lowest: int = -128
    highest: int = 127
    input_zero_point: int = 0


def pack_layer(weight: Tensor, bias: Tensor | None = None, *, input_zero_point: int = 0, multiplier: Tensor | None = None,
               shift: Tensor | None = None, zero_point: int = 0, lowest: int = -128, highest: int = 127,
               scale: Tensor | None = None, real_bias: Tensor | None = None) -> Tensor:
    """The bytes (uint8, 1-D) of a linear layer, or of a convolution if weight is (N, taps, K); see LayerCodes for the parts.

    `bias` counts in units of S_x S_w and has not absorbed the zero point of the input: that happens here,
    sum w (q - Z) + b = sum w q + (b - Z sum w). Give `multiplier` and `shift` (scalars or (N,)) for int8 output, `scale` and
    `real_bias` for float output, or both. Raises TypeError or ValueError naming what does not fit.

    >>> pack_layer(torch.ones(3, 5, dtype=torch.int8), scale=torch.tensor(0.5)).shape    # 64 + 6*4*16 + 16*8 bytes
    torch.Size([576])
    """
    _check_weight(weight)
    n = weight.shape[0]
    check_codes(zero_point=zero_point, lowest=lowest, highest=highest, input_zero_point=input_zero_point)
    if lowest > highest:
        raise ValueError(f"lowest is {lowest} and highest {highest}, expected lowest <= highest")
    column_sum = weight.flatten(1).sum(1, dtype=torch.int64)
    bias = _channels(bias, n, 0, torch.int64, "bias")
    if bias.abs().max() > 2**30:
        raise ValueError(f"bias reaches {bias.abs().max().item()}, expected at most 2^30 in size; use a larger weight scale")
    parts = [
        (bias - input_zero_point * column_sum).to(torch.int32),
        column_sum.to(torch.int32),
        _channels(multiplier, n, 0, torch.int32, "multiplier"),
        _checked_shift(_channels(shift, n, 1, torch.int32, "shift")),
        _channels(scale, n, 1.0, torch.float32, "scale"),
        _channels(real_bias, n, 0.0, torch.float32, "real_bias"),
    ]
    taps = weight.shape[1] if weight.dim() == 3 else 1
    header = Header(LAYER, n, weight.shape[-1], taps, zero_point, lowest, highest, input_zero_point)
    arrays = [torch.nn.functional.pad(part, (0, -n % 16)).contiguous().view(torch.uint8) for part in parts]
    return torch.cat([header.pack(), *arrays, pack_weight(weight)])


def pack_weight(weight: Tensor) -> Tensor:
    """(N, K) or (N, taps, K) int8 to the kernels' order [N/16][taps][K/4][16][4], padded with zeros, as uint8 bytes."""
    n, *_, k = weight.shape
    padded = torch.nn.functional.pad(weight.reshape(n, -1, k), (0, -k % 4, 0, 0, 0, -n % 16))
    blocks = padded.reshape(padded.shape[0] // 16, 16, -1, 4)  # taps and fours of inputs follow each other
    return blocks.transpose(1, 2).contiguous().view(torch.uint8).flatten()


def unpack_layer(layer: Tensor) -> LayerCodes:
    """Undo `pack_layer`. Raises ValueError if the bytes are not a layer.

    >>> unpack_layer(pack_layer(torch.tensor([[1, -2, 3]], dtype=torch.int8))).weight
    tensor([[ 1, -2,  3]], dtype=torch.int8)
    """
    raw = as_bytes(layer)
    header = read_header(raw, LAYER, "a layer", "pack_layer")
    if raw.numel() != header.weight_at + header.weight_bytes:
        raise ValueError("these bytes are not a layer (header or length is wrong); make them with pack_layer")
    n, k, padded = header.outputs, header.inputs, header.padded
    blocks = raw[header.weight_at :].clone().view(torch.int8).reshape(padded // 16, -1, 16, 4)
    weight = blocks.transpose(1, 2).reshape(padded, header.taps, -1)[:n, :, :k]
    weight = weight[:, 0] if header.taps == 1 else weight
    arrays = raw[_HEADER.size : header.weight_at].clone().view(torch.int32).reshape(6, padded)[:, :n]
    bias, _, multiplier, shift = arrays[:4]
    scale, real_bias = arrays[4:].contiguous().view(torch.float32)
    return LayerCodes(weight, bias, multiplier, (shift & 63).clamp(min=1), scale, real_bias, header.zero_point, header.lowest,
                      header.highest, header.input_zero_point)


def as_bytes(layer: Tensor) -> Tensor:
    """Return `layer` if it is a contiguous 1-D uint8 tensor, else raise ValueError."""
    if layer.dtype != torch.uint8 or layer.dim() != 1 or not layer.is_contiguous():
        raise ValueError(f"the layer is {layer.dtype} of shape {tuple(layer.shape)}, expected contiguous 1-D uint8 bytes from pack_layer")
    return layer


def read_header(raw: Tensor, magic: int, kind: str, packer: str) -> Header:
    """The checked header of a layer's bytes; ValueError if they do not begin as those of `kind`, or end before the weights."""
    if raw.numel() < _HEADER.size:
        raise ValueError(f"the layer has {raw.numel()} bytes, expected at least {_HEADER.size}; make it with {packer}")
    header = Header(*_HEADER.unpack(raw[: _HEADER.size].numpy().tobytes()))
    fits = header.outputs > 0 and header.inputs > 0 and 1 <= header.taps <= 4096 and raw.numel() >= header.weight_at
    if header.magic != magic or not fits:
        raise ValueError(f"these bytes are not {kind} (header or length is wrong); make them with {packer}")
    codes = header[4:8]
    if not all(-128 <= code <= 127 for code in codes) or codes[1] > codes[2]:
        raise ValueError(f"the layer's zero point, lowest and highest code are {codes}, expected codes in -128..127")
    return header


def _check_weight(weight: Tensor) -> None:
    if not isinstance(weight, Tensor) or weight.dtype != torch.int8:
        raise TypeError(f"weight is {getattr(weight, 'dtype', type(weight).__name__)}, expected int8 codes")
    if weight.dim() not in (2, 3) or weight.numel() == 0 or weight[0].numel() > MAX_INPUTS:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (outputs, inputs) or (outputs, taps, inputs), not empty, "
                         f"at most {MAX_INPUTS} weights an output")
    if (weight == -128).any():
        raise ValueError("weight holds the code -128, expected -127..127 (Scheme(narrow_range=True)): some processors saturate")


def check_codes(**codes: int) -> None:
    for name, code in codes.items():
        if isinstance(code, bool) or not isinstance(code, int) or not -128 <= code <= 127:
            raise ValueError(f"{name} is {code!r}, expected a whole number in -128..127")


def _checked_shift(shift: Tensor) -> Tensor:
    if (shift < 1).any() or (shift > 62).any():
        raise ValueError(f"shift spans {shift.min().item()}..{shift.max().item()}, expected 1..62; see reference.quantize_multiplier")
    return shift


def _channels(value: Tensor | None, n: int, default: float, dtype: torch.dtype, name: str) -> Tensor:
    """`value` as (n,): a scalar serves every channel, None means `default`."""
    value = torch.as_tensor(default if value is None else value)
    if value.is_floating_point() != dtype.is_floating_point:
        raise TypeError(f"{name} has dtype {value.dtype}, expected {'real numbers' if dtype.is_floating_point else 'integers'}")
    if value.is_floating_point() and not value.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity, expected finite values")
    if value.numel() not in (1, n):
        raise ValueError(f"{name} has {value.numel()} values, expected 1 or one for each of the {n} outputs")
    return value.detach().flatten().expand(n).to(dtype)


def header_bytes(header: bytes) -> Tensor:
    """A packed header as a tensor of its bytes, what every block of bytes begins with."""
    return torch.frombuffer(bytearray(header), dtype=torch.uint8)
