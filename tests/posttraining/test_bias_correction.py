"""Moments and averages given back: against numpy, data, scipy's integrals, and what cannot be."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from qtoolkit.posttraining import correct_bias, relu_mean, restore_moments
from qtoolkit.quantizers import Affine, PerChannel, Scheme


def _randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _rounded(weight: torch.Tensor, bits: int = 3, axis: int = 0) -> torch.Tensor:
    return Affine.fit(weight, Scheme(bits=bits, granularity=PerChannel(axis))).fake(weight)


@pytest.mark.parametrize("shape, axis", [((6, 40), 0), ((6, 5, 3, 3), 0), ((40, 6), 1), ((40, 6), -1)])
def test_each_channel_has_its_mean_and_spread_again(shape, axis):
    weight = _randn(*shape) + 0.3
    restored, others = restore_moments(weight, _rounded(weight, axis=axis), axis), tuple(a for a in range(weight.dim()) if a != axis % weight.dim())
    assert restored.shape == weight.shape
    np.testing.assert_allclose(restored.numpy().mean(others), weight.numpy().mean(others), atol=1e-12)
    np.testing.assert_allclose(restored.numpy().std(others), weight.numpy().std(others), rtol=1e-12)


def test_the_restored_weights_have_no_more_levels_than_before():
    weight = _randn(6, 400)
    rounded = _rounded(weight)
    assert [len(row.unique()) for row in restore_moments(weight, rounded)] == [len(row.unique()) for row in rounded]


def test_the_printed_formula_leaves_a_mean_that_is_stretched():
    """xi (w~ + mu(w) - mu(w~)) of Banner et al. has the mean xi mu(w), ours has mu(w)."""
    weight = _randn(1, 400) + 2
    rounded = _rounded(weight, bits=2)
    stretch = weight.std() / rounded.std()
    printed = stretch * (rounded + weight.mean() - rounded.mean())
    assert printed.mean().item() == pytest.approx((stretch * weight.mean()).item(), rel=1e-12)
    assert abs(printed.mean() - weight.mean()) > 0.05
    assert restore_moments(weight, rounded).mean().item() == pytest.approx(weight.mean().item(), rel=1e-12)


def test_a_channel_rounded_to_one_value_gets_its_mean_and_no_nan():
    weight = torch.tensor([[0.1, 0.2, -0.1], [4.0, -4.0, 1.0]])
    restored = restore_moments(weight, torch.tensor([[0.0, 0.0, 0.0], [4.0, -4.0, 0.0]]))
    torch.testing.assert_close(restored[0], torch.full((3,), weight[0].mean().item()))
    assert restored.isfinite().all()


def test_a_linear_layer_has_its_average_output_again():
    torch.manual_seed(0)
    for bias in (True, False):
        layer, x = nn.Linear(30, 7, bias=bias).double(), _randn(500, 30).relu()
        rounded = _rounded(layer.weight.detach(), bits=2)
        before, after = layer(x).mean(0), (x @ rounded.T + correct_bias(layer, rounded, x.mean(0))).mean(0)
        torch.testing.assert_close(after, before.detach())
        assert (x @ rounded.T - x @ layer.weight.T).mean(0).abs().max() > 1e-3  # there was something to correct


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_convolution_has_its_average_output_again(groups):
    """With circular padding every tap sees every pixel, so one mean a channel is exact."""
    torch.manual_seed(1)
    layer, x = nn.Conv2d(8, 16, 3, padding=1, padding_mode="circular", groups=groups).double(), _randn(4, 8, 6, 6).relu()
    rounded, corrected = _rounded(layer.weight.detach(), bits=2), nn.Conv2d(8, 16, 3, padding=1, padding_mode="circular", groups=groups).double()
    with torch.no_grad():
        corrected.weight.copy_(rounded), corrected.bias.copy_(correct_bias(layer, rounded, x.mean((0, 2, 3))))
    torch.testing.assert_close(corrected(x).mean((0, 2, 3)), layer(x).mean((0, 2, 3)))


@pytest.mark.parametrize("mean", [-3.0, -0.4, 0.0, 0.2, 5.0])
@pytest.mark.parametrize("std", [0.01, 0.5, 2.0])
def test_the_mean_behind_a_relu_is_the_integral(mean, std):
    integral, _ = quad(lambda t: t * norm.pdf(t, mean, std), max(0, mean - 12 * std), max(mean, 0) + 12 * std)
    ours = relu_mean(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    assert ours.item() == pytest.approx(integral, abs=1e-9)


def test_without_a_spread_the_mean_behind_a_relu_is_the_relu():
    mean = torch.tensor([-1.0, 0.0, 2.0])
    torch.testing.assert_close(relu_mean(mean, torch.zeros(3)), mean.relu())


def test_a_data_free_correction_finds_what_data_finds():
    """Inputs made as a batch norm and a ReLU make them: beta and gamma alone give nearly the correction that the data gives."""
    beta, gamma = _randn(20, seed=3), _randn(20, seed=4)
    x = (_randn(200_000, 20, seed=5) * gamma + beta).relu()
    torch.manual_seed(2)
    layer = nn.Linear(20, 5).double()
    rounded = _rounded(layer.weight.detach(), bits=2)
    torch.testing.assert_close(correct_bias(layer, rounded, relu_mean(beta, gamma.abs())), correct_bias(layer, rounded, x.mean(0)), atol=3e-3, rtol=0)


def test_what_does_not_fit_is_named():
    layer, ones = nn.Linear(3, 2), torch.ones
    with pytest.raises(TypeError, match="Embedding, expected a Linear or a Conv2d"):
        correct_bias(nn.Embedding(2, 3), ones(2, 3), ones(3))
    with pytest.raises(ValueError, match=r"quantized has shape \(3, 2\), expected \(2, 3\)"):
        correct_bias(layer, ones(3, 2), ones(3))
    with pytest.raises(ValueError, match=r"mean_input has shape \(2,\), expected \(3,\)"):
        correct_bias(layer, ones(2, 3), ones(2))
    with pytest.raises(ValueError, match="mean_input holds NaN"):
        correct_bias(layer, ones(2, 3), ones(3) / 0 * 0)
    with pytest.raises(ValueError, match=r"weight has shape \(2, 2\) and quantized \(2, 3\)"):
        restore_moments(ones(2, 2), ones(2, 3))
    with pytest.raises(ValueError, match="no axis 2"):
        restore_moments(ones(2, 2), ones(2, 2), axis=2)
    with pytest.raises(TypeError, match="weight is a list"):
        restore_moments([1.0], ones(2, 2))
    with pytest.raises(ValueError, match="std has the value -1"):
        relu_mean(ones(2), -ones(2))
