"""Rounding shifts what a layer computes on average; the shift is known, so it can be taken back.

    restore_moments(w, w~)               each channel of the weights gets its own mean and spread back    Banner et al. 2019
    correct_bias(layer, w~, E[x])        the bias takes the average output back to where it was           Nagel et al. 2019
    relu_mean(beta, gamma)               E[x] behind a batch norm and a ReLU, from parameters alone       Nagel et al. 2019
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qtoolkit.posttraining._channels import LAYERS, input_channels, response
from qtoolkit.quantizers import PerChannel, _checks


def restore_moments(weight: Tensor, quantized: Tensor, axis: int = 0) -> Tensor:
    r"""The quantized weights, shifted and stretched until each channel has the mean and the spread of the weights before.

        w' = xi (w~ - mu(w~)) + mu(w),    xi = ||w - mu(w)|| / ||w~ - mu(w~)||        for each channel along `axis`

    weight, quantized: real, of one shape. The levels stay as many as they were: xi goes into the channel's scale, and what is added is
    one more number a channel. The paper prints xi (w~ + mu(w) - mu(w~)), whose mean is xi mu(w): the stretch moves what the shift has
    just put right. A channel whose rounded weights are all the same has no spread to stretch, and gets its mean alone.
    Raises TypeError or ValueError for what is not real or finite, or has two shapes.
    Source: Banner et al. 2019, section 5; Finkelstein et al. 2019.

    >>> restore_moments(torch.tensor([[0.1, 0.3, 0.8]]), torch.tensor([[0.0, 0.5, 1.0]])).mean()
    tensor(0.4000)
    """
    channels = PerChannel(axis)
    rows, rounded = (channels.blocks(_checks.real_tensor(x, name)) for x, name in ((weight, "weight"), (quantized, "quantized")))
    if weight.shape != quantized.shape:
        raise ValueError(f"weight has shape {tuple(weight.shape)} and quantized {tuple(quantized.shape)}, expected one shape")
    mean, rounded_mean = rows.mean(1, keepdim=True), rounded.mean(1, keepdim=True)
    spread, rounded_spread = (rows - mean).norm(dim=1, keepdim=True), (rounded - rounded_mean).norm(dim=1, keepdim=True)
    stretch = torch.where(rounded_spread > 0, spread / rounded_spread, 0.0)
    return channels.unblock(stretch * (rounded - rounded_mean) + mean, quantized.shape).to(quantized.dtype)


def correct_bias(layer: nn.Linear | nn.Conv2d, quantized: Tensor, mean_input: Tensor) -> Tensor:
    r"""The bias with which the layer, run with `quantized` weights, has the average output that it had before.

        E[y~ - y] = (W~ - W) E[x],    so    b' = b - (W~ - W) E[x]

    quantized: real, the shape of layer.weight. mean_input: (in_features,), or (in_channels,) of a convolution, whose taps all see the
    same mean; at its zero-padded borders that is not quite so. Returns (out_features,), also for a layer that has no bias.
    Raises TypeError for another layer, TypeError or ValueError for what is not real or finite, or does not fit the layer.
    Source: Nagel et al. 2019, section 4.2.

    >>> layer = nn.Linear(2, 1)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[0.9, 0.2]])), layer.bias.zero_()
    >>> correct_bias(layer, torch.tensor([[1.0, 0.0]]), mean_input=torch.tensor([2.0, 3.0]))
    tensor([0.4000])
    """
    if not isinstance(layer, LAYERS):
        raise TypeError(f"layer is a {type(layer).__name__}, expected a Linear or a Conv2d")
    weight = layer.weight.detach()
    if _checks.real_tensor(quantized, "quantized").shape != weight.shape:
        raise ValueError(f"quantized has shape {tuple(quantized.shape)}, expected {tuple(weight.shape)}, that of the layer's weight")
    if _checks.real_tensor(mean_input, "mean_input").shape != (input_channels(layer),):
        raise ValueError(f"mean_input has shape {tuple(mean_input.shape)}, expected ({input_channels(layer)},): a mean for each input channel")
    shift = response(layer, quantized - weight, mean_input)
    return -shift if layer.bias is None else layer.bias.detach() - shift


def relu_mean(mean: Tensor, std: Tensor) -> Tensor:
    r"""The mean of a normal variable behind a ReLU: E[max(0, n)] = std phi(mean / std) + mean Phi(mean / std), n ~ N(mean, std^2).

    A batch norm makes its channels nearly normal with mean beta and standard deviation |gamma|: the average input of the layer behind is
    known without any data. mean, std: real, of shapes that broadcast; std >= 0, and at 0 the result is max(0, mean).
    Raises TypeError or ValueError for what is not real or finite, for a negative std, or for shapes that do not fit.
    Source: Nagel et al. 2019, section 4.2.1; phi and Phi are density and distribution of N(0, 1).

    >>> relu_mean(torch.tensor([0.0, 1.0, -1.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor([0.3989, 1.0000, 0.0000])
    """
    _checks.fits("mean", _checks.real_tensor(mean, "mean"), std=_checks.real_tensor(std, "std"))
    if (std < 0).any():
        raise ValueError(f"std has the value {std.min().item():g}, expected 0 or more")
    ratio = mean / std.clamp(min=torch.finfo(std.dtype).tiny)
    density = torch.exp(-ratio.clamp(-40, 40) ** 2 / 2) / math.sqrt(2 * math.pi)
    return std * density + mean * torch.special.ndtr(ratio)
