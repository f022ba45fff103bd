"""Layers that compute in int8: real speed, not simulated quantization.

*Dynamic*: float in, float out; each input row is quantized with its own scale inside the operator (no calibration).
*Static*: the ranges of all activations are measured once, then codes flow from layer to layer and only integers are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtoolkit.kernels import ops, reference
from qtoolkit.kernels.conv_layer import pack_conv, window_positions
from qtoolkit.kernels.layer import pack_layer, unpack_layer
from qtoolkit.kernels.plan import Convolution, MaxPool, Stage, pack_plan
from qtoolkit.quantizers import Affine, PerChannel, Scheme

WEIGHT_SCHEME = Scheme(bits=8, symmetric=True, narrow_range=True, granularity=PerChannel(0))
ACTIVATION_SCHEME = Scheme(bits=8, symmetric=False)


class Int8DynamicLinear(nn.Module):
    """y_r = s_r S_w (q_x q_w^T) + b, where row r of x has its own scale s_r = max |x_r| / 127; x (..., in), y (..., out).

    Source: Gholami et al. 2021, section III-D (dynamic range) and III-E (token-wise activations, channel-wise weights).
    See: book/chapters/04-static-and-dynamic-ranges.ipynb#a-range-for-each-token

    >>> layer = Int8DynamicLinear.from_float(nn.Linear(8, 4))
    >>> layer(torch.zeros(2, 8)).shape
    torch.Size([2, 4])
    """

    def __init__(self, layer: Tensor, in_features: int, out_features: int):
        super().__init__()
        self.register_buffer("layer", layer)
        self.in_features, self.out_features = in_features, out_features

    @classmethod
    def from_float(cls, linear: nn.Linear) -> Int8DynamicLinear:
        """The int8 twin of a trained linear layer. Raises TypeError or ValueError for other modules and NaN weights."""
        _expect(linear, nn.Linear)
        return cls(_dynamic_layer(linear.weight, linear.bias), linear.in_features, linear.out_features)

    def forward(self, x: Tensor) -> Tensor:
        return ops.int8_dynamic_linear(x, self.layer, self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Int8DynamicConv2d(nn.Module):
    """A convolution as matrix products in int8: every patch of the image is a row with its own scale.

    x (batch, channels, height, width) -> (batch, out_channels, height', width'). The patches are copied out first (im2col).
    Source: Gholami et al. 2021, section III-C; Chellapilla et al. 2006 (convolution as a matrix product).

    >>> layer = Int8DynamicConv2d.from_float(nn.Conv2d(3, 8, 3, padding=1))
    >>> layer(torch.zeros(2, 3, 5, 5)).shape
    torch.Size([2, 8, 5, 5])
    """

    def __init__(self, layers: list[Tensor], conv: nn.Conv2d):
        super().__init__()
        for group, layer in enumerate(layers):
            self.register_buffer(f"layer{group}", layer)
        self.groups, self.out_channels, self.in_channels = conv.groups, conv.out_channels, conv.in_channels
        self.kernel_size, self.stride, self.dilation = conv.kernel_size, conv.stride, conv.dilation
        self.margin, self.margin_mode = list(conv._reversed_padding_repeated_twice), conv.padding_mode

    @classmethod
    def from_float(cls, conv: nn.Conv2d) -> Int8DynamicConv2d:
        """The int8 twin of a trained convolution. Raises TypeError or ValueError for other modules and NaN weights."""
        _expect(conv, nn.Conv2d)
        weights = conv.weight.flatten(1).chunk(conv.groups)
        biases = [None] * conv.groups if conv.bias is None else conv.bias.chunk(conv.groups)
        return cls([_dynamic_layer(w, b) for w, b in zip(weights, biases)], conv)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"x has shape {tuple(x.shape)}, expected (batch, {self.in_channels}, height, width)")
        x = F.pad(x, self.margin, mode="constant" if self.margin_mode == "zeros" else self.margin_mode)
        height, width = map(window_positions, x.shape[2:], self.kernel_size, self.stride, (0, 0), self.dilation)  # padded already
        patches = F.unfold(x, self.kernel_size, self.dilation, stride=self.stride).transpose(1, 2).chunk(self.groups, dim=2)
        each = self.out_channels // self.groups
        outputs = [ops.int8_dynamic_linear(rows, self.get_buffer(f"layer{i}"), each) for i, rows in enumerate(patches)]
        return torch.cat(outputs, dim=2).transpose(1, 2).reshape(x.shape[0], self.out_channels, height, width)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, groups={self.groups}"


class Int8Linear(nn.Module):
    """Integer-only: codes in, codes out, q_y = clamp(round(M (q_x q_w^T + b)) + Z_y), M = S_x S_w / S_y; x (..., in) int8.

    Source: Jacob et al. 2018, section 2.2 and 2.4 (bias and activation fused).

    >>> codes = Affine.from_range(-1.0, 1.0, ACTIVATION_SCHEME)
    >>> layer = Int8Linear.from_float(nn.Linear(8, 4), input=codes, output=codes)
    >>> layer(torch.zeros(2, 8, dtype=torch.int8)).dtype
    torch.int8
    """

    def __init__(self, layer: Tensor, in_features: int, out_features: int):
        super().__init__()
        self.register_buffer("layer", layer)
        self.in_features, self.out_features = in_features, out_features

    @classmethod
    def from_float(cls, linear: nn.Linear, input: Affine, output: Affine, relu: bool = False) -> Int8Linear:
        """`linear` (and a ReLU after it) between the 8-bit codes of `input` and of `output`, both per tensor and signed."""
        _expect(linear, nn.Linear)
        return cls(_static_layer(linear.weight, linear.bias, input, output, relu), linear.in_features, linear.out_features)

    def forward(self, codes: Tensor) -> Tensor:
        return ops.int8_linear(codes, self.layer, self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class StaticInt8(nn.Module):
    """A whole network on integers in one operator call: quantize the input, int8 stages, real logits; made by `static_int8`."""

    def __init__(self, stages: list[Stage], input: Affine, image: tuple[int, int, int] | None = None):
        super().__init__()
        self.register_buffer("plan", pack_plan(stages, input.scale.item(), input.zero_point.item(), image))
        self.out_features = unpack_layer(stages[-1]).weight.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        return ops.int8_plan(x, self.plan, self.out_features)

    def extra_repr(self) -> str:
        return f"out_features={self.out_features}, bytes={self.plan.numel()}"


def static_int8(model: nn.Sequential, calibration: Tensor) -> StaticInt8:
    """An integer-only twin of a Sequential of Conv2d, MaxPool2d, Flatten, Linear and ReLU that ends in a Linear.

    Runs `calibration` (a batch of real inputs) through the float model, notes the smallest and largest value at the input and
    after each Conv2d or Linear (or its ReLU), and fixes scales and zero points from them. Max-pooling keeps its input's. x (batch, ...)
    -> logits (batch, out). Raises TypeError or ValueError for other modules, an order that cannot be fused, or inputs not finite.
    Source: Jacob et al. 2018, sections 2 and 3; Gholami et al. 2021, section IV-A.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> static_int8(model, torch.randn(16, 2, 2))
    StaticInt8(out_features=2, bytes=1280)
    """
    steps = _steps(model)
    x = calibration if _takes_images(steps[0].module) else calibration.flatten(1)
    if _takes_images(steps[0].module) and x.dim() != 4:
        raise ValueError(f"calibration has shape {tuple(x.shape)}, expected images (batch, channels, height, width)")
    image = tuple(x.shape[1:]) if x.dim() == 4 else None
    quantizer = first = Affine.fit(x, ACTIVATION_SCHEME)
    stages: list[Stage] = []
    for step in steps[:-1]:
        shape, x = x.shape[1:], step.run(x)
        output = quantizer if isinstance(step.module, nn.MaxPool2d) else Affine.fit(x, ACTIVATION_SCHEME)
        stages.append(_stage(step, shape, quantizer, output))
        quantizer = output
    return StaticInt8([*stages, _last_layer(steps[-1].module, x.shape[1:], quantizer)], first, image)


@dataclass
class _Step:
    """A Conv2d, MaxPool2d or Linear, and whether a ReLU follows."""

    module: nn.Module
    relu: bool = False

    @torch.no_grad()
    def run(self, x: Tensor) -> Tensor:
        x = self.module(x.flatten(1) if isinstance(self.module, nn.Linear) else x)
        return x.relu() if self.relu else x


def _takes_images(module: nn.Module) -> bool:
    return isinstance(module, (nn.Conv2d, nn.MaxPool2d))


def _steps(model: nn.Sequential) -> list[_Step]:
    """The steps in order. A ReLU after a pooling goes before it: the largest value and max(0, .) may change places."""
    _expect(model, nn.Sequential)
    steps: list[_Step] = []
    flat = False
    for name, module in model.named_children():
        fits = True
        if isinstance(module, nn.Linear):
            fits = flat or not steps or not _takes_images(steps[-1].module)
            steps.append(_Step(module))
        elif _takes_images(module):
            fits = not flat and _is_plain(module) and (not steps or _takes_images(steps[-1].module))
            steps.append(_Step(module))
        elif isinstance(module, nn.ReLU) and (layers := [step for step in steps if not isinstance(step.module, nn.MaxPool2d)]):
            layers[-1].relu = True
        elif isinstance(module, nn.Flatten):
            fits, flat = not steps or _takes_images(steps[-1].module), True
        else:
            fits = isinstance(module, (nn.Dropout, nn.Identity))
        if not fits:
            raise ValueError(f"module {name} of the model is {module}, expected Conv2d, ReLU and MaxPool2d in turn (padded with zeros; no padding, "
                             "dilation or ceil_mode in a pooling), then Flatten, then Linear and ReLU in turn; fold a batch norm with fold_batch_norms")
    if not steps or not isinstance(steps[-1].module, nn.Linear) or steps[-1].relu:
        raise ValueError("the model does not end in a Linear; static_int8 returns the real outputs of the last Linear")
    return steps


def _is_plain(module: nn.Conv2d | nn.MaxPool2d) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return _pair(module.padding) == (0, 0) and _pair(module.dilation) == (1, 1) and not module.ceil_mode and not module.return_indices


def _pair(numbers: int | tuple[int, int]) -> tuple[int, int]:
    return (numbers, numbers) if isinstance(numbers, int) else tuple(numbers)


def _stage(step: _Step, shape: torch.Size, input: Affine, output: Affine) -> Stage:
    """A stage of the plan from inputs of this shape, without the batch."""
    module = step.module
    if isinstance(module, nn.MaxPool2d):
        return MaxPool(_pair(module.kernel_size), _pair(module.stride))
    if isinstance(module, nn.Linear):
        return _static_layer(_as_the_plan_has_it(module.weight, shape), module.bias, input, output, step.relu)
    layer = _static_layer(module.weight, module.bias, input, output, step.relu, partial(pack_conv, groups=module.groups))
    return Convolution(layer, module.out_channels, module.kernel_size, module.stride, module.padding, module.dilation, module.groups)


def _as_the_plan_has_it(weight: Tensor, shape: torch.Size) -> Tensor:
    """Columns of a linear layer after images of (channels, height, width), in the plan's order (height, width, channels)."""
    return weight if len(shape) == 1 else weight.reshape(-1, *shape).permute(0, 2, 3, 1).flatten(1)


def _dynamic_layer(weight: Tensor, bias: Tensor | None) -> Tensor:
    q = Affine.fit(weight.detach().float(), WEIGHT_SCHEME)
    return pack_layer(q.encode(weight.detach().float()).codes, scale=q.scale, real_bias=bias)


def _static_layer(weight: Tensor, bias: Tensor | None, input: Affine, output: Affine, relu: bool,
                  pack: Callable[..., Tensor] = pack_layer) -> Tensor:
    """The bytes of a layer between two quantizers; a ReLU is a clamp at the output's zero point."""
    for name, quantizer in (("input", input), ("output", output)):
        if quantizer.scale.numel() != 1 or (quantizer.scheme.qmin, quantizer.scheme.qmax) not in ((-128, 127), (-127, 127)):
            raise ValueError(f"{name} is {quantizer}, expected one signed 8-bit scale for the whole tensor")
    codes, scale, bias = _static_weight(weight, bias, input)
    multiplier, shift = reference.quantize_multiplier(scale / output.scale.double().item())
    zero_point = int(output.zero_point)
    return pack(codes, bias, input_zero_point=int(input.zero_point), multiplier=multiplier, shift=shift,
                zero_point=zero_point, lowest=max(zero_point, output.scheme.qmin) if relu else output.scheme.qmin)


def _last_layer(linear: nn.Linear, shape: torch.Size, input: Affine) -> Tensor:
    codes, scale, _ = _static_weight(_as_the_plan_has_it(linear.weight, shape), linear.bias, input)
    return pack_layer(codes, input_zero_point=int(input.zero_point), scale=scale, real_bias=linear.bias)


def _static_weight(weight: Tensor, bias: Tensor | None, input: Affine) -> tuple[Tensor, Tensor, Tensor]:
    """(codes, S_x S_w as float64, bias in units of S_x S_w); S_w is widened where the bias would not fit 30 bits."""
    weight, s_x = weight.detach().float(), input.scale.double().item()
    bias = torch.zeros(weight.shape[0]) if bias is None else bias.detach()
    fitted = Affine.fit(weight, WEIGHT_SCHEME)
    wide = torch.maximum(fitted.scale.double(), bias.double().abs().reshape(fitted.scale.shape) / (s_x * (2**30 - 1)))
    scale = wide.float().double().flatten() * s_x
    codes = Affine(WEIGHT_SCHEME, wide.float()).encode(weight).codes
    return codes, scale, torch.round(bias.double() / scale).clamp(-(2**30), 2**30).to(torch.int64)


def _expect(module: nn.Module, kind: type) -> None:
    if not isinstance(module, kind):
        raise TypeError(f"got {type(module).__name__}, expected torch.nn.{kind.__name__}")
