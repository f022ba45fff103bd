"""Layers that store their weight in codes and compute in real numbers: less memory, the same arithmetic."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtoolkit.quantizers import QTensor


class _WeightOnly(nn.Module):
    """A weight kept as the packed buffers of a QTensor; `weight` reads it back each time it is used."""

    _axes: tuple[str, ...]

    def __init__(self, weight: QTensor, bias: Tensor | None = None):
        super().__init__()
        self._check_weight(weight)
        tensors, self._metadata = weight.state()
        self._parts = tuple(tensors)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def _check_weight(self, weight: QTensor) -> None:
        if not isinstance(weight, QTensor):
            raise TypeError(f"weight is a {type(weight).__name__}, expected a QTensor; make one with Affine.fit(w, scheme).encode(w)")
        if len(weight.shape) != len(self._axes):
            raise ValueError(f"weight has shape {tuple(weight.shape)}, expected ({', '.join(self._axes)})")

    @property
    def qweight(self) -> QTensor:
        """The stored weight, in codes."""
        return QTensor.from_state({name: getattr(self, name) for name in self._parts}, self._metadata)

    @property
    def weight(self) -> Tensor:
        """The weight as real numbers: W~ = S (q - Z) for affine codes."""
        return self.qweight.dequantize()


class WeightOnlyLinear(_WeightOnly):
    """y = x W~^T + b with W~ read back from codes. x: (..., in), y: (..., out), both real.

    Source: Gholami et al. 2021, section IV-A (simulated quantization).
    See: book/chapters/02-uniform-quantization.ipynb#bits-and-accuracy

    >>> from qtoolkit.quantizers import Affine, Scheme
    >>> w = torch.linspace(-1, 1, 32).reshape(4, 8)
    >>> WeightOnlyLinear(Affine.fit(w, Scheme(bits=4)).encode(w))
    WeightOnlyLinear(8 -> 4, 5 bits a weight)
    """

    _axes = ("out", "in")

    @classmethod
    def from_float(cls, linear: nn.Linear, weight: QTensor) -> WeightOnlyLinear:
        """The layer that replaces `linear`, its weight given in codes."""
        return cls(weight, linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        weight = _weight_for(x, self.weight)
        if x.dim() == 0 or x.shape[-1] != weight.shape[1]:
            raise ValueError(f"input has shape {tuple(x.shape)}, expected (..., {weight.shape[1]})")
        return F.linear(x, weight, self.bias)

    def __repr__(self) -> str:
        q = self.qweight
        return f"WeightOnlyLinear({q.shape[1]} -> {q.shape[0]}, {q.bits_per_weight:.4g} bits a weight)"


class WeightOnlyConv2d(_WeightOnly):
    """y = x * W~ + b with W~ read back from codes. x: (batch, in, height, width), y: (batch, out, height', width'), both real.

    stride, padding, dilation, groups and padding_mode mean what they mean in `torch.nn.Conv2d`.
    Source: Gholami et al. 2021, section IV-A (simulated quantization).
    See: book/chapters/02-uniform-quantization.ipynb#bits-and-accuracy
    """

    _axes = ("out", "in / groups", "height", "width")

    def __init__(self, weight: QTensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1,
                 padding_mode: str = "zeros"):
        super().__init__(weight, bias)
        # An empty convolution keeps the geometry; its parameters live on no device and take no memory.
        out, per_group, *kernel = weight.shape
        self._geometry = (nn.Conv2d(per_group * groups, out, tuple(kernel), stride, padding, dilation, groups,
                                    padding_mode=padding_mode, device="meta"),)

    @classmethod
    def from_float(cls, conv: nn.Conv2d, weight: QTensor) -> WeightOnlyConv2d:
        """The layer that replaces `conv`, its weight given in codes."""
        return cls(weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        conv = self._geometry[0]
        if x.dim() not in (3, 4) or x.shape[-3] != conv.in_channels:
            raise ValueError(f"input has shape {tuple(x.shape)}, expected (batch, {conv.in_channels}, height, width)")
        return conv._conv_forward(x, _weight_for(x, self.weight), self.bias)

    def __repr__(self) -> str:
        return f"WeightOnlyConv2d({self._geometry[0].extra_repr()}, {self.qweight.bits_per_weight:.4g} bits a weight)"


def _weight_for(x: Tensor, weight: Tensor) -> Tensor:
    """The weight in the dtype of the input, which must be real."""
    if not x.is_floating_point():
        raise TypeError(f"input has dtype {x.dtype}, expected a floating-point dtype")
    return weight.to(x.dtype)
