"""Signs and their stand-in slopes: against brute force, derivatives by autograd, the bit kernel, and the numbers of the papers."""

import math

import pytest
import torch
from scipy.integrate import quad
from torch import nn

from qtoolkit import lab
from qtoolkit.kernels.table import pack_binary, table_linear
from qtoolkit.lowbit import (Shortcut, balanced_signs, binarize, clip_masters, error_decay, input_scales, magnitude_penalty, scaled_signs,
                             swish_sign, swish_slope, triangle, window)


def _randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_signs_are_plus_and_minus_one_and_zero_counts_as_plus():
    x = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 3.0])
    assert binarize(x).tolist() == [-1, -1, 1, 1, 1] and binarize(x.double()).dtype == torch.float64


@pytest.mark.parametrize("slope, expected", [(torch.ones_like, [1, 1, 1, 1, 1]), (window, [0, 1, 1, 1, 0])])
def test_the_gradient_is_that_of_the_slope(slope, expected):
    x = torch.tensor([-1.5, -1.0, 0.2, 1.0, 1.01], requires_grad=True)
    (binarize(x, slope) * torch.arange(1.0, 6)).sum().backward()
    assert x.grad.tolist() == [(i + 1) * value for i, value in enumerate(expected)]


@pytest.mark.parametrize("k", [1, 31, 32, 100])
def test_two_binary_factors_are_what_the_bit_kernel_computes(k):
    x, w = _randn(5, k).float(), _randn(8, k, seed=1).float()
    assert torch.equal(binarize(x) @ binarize(w).T, table_linear(x, pack_binary(w), 8))


def test_no_other_size_and_no_other_signs_are_nearer():
    w = _randn(3, 7)
    ours = (w - scaled_signs(w)).square().sum(1)
    choices = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 7)
    for row, error in zip(w, ours):
        size = (choices @ row / 7).clamp(min=0)[:, None]  # the best a for each choice of signs
        assert (row - size * choices).square().sum(1).min().item() == pytest.approx(error.item())
    size = w.abs().mean(1)
    torch.testing.assert_close(ours, w.square().sum(1) - 7 * size**2)


def test_gaussian_weights_lose_36_percent():
    w = _randn(1, 1_000_000)
    assert ((w - scaled_signs(w)).square().sum() / w.square().sum()).item() == pytest.approx(1 - 2 / math.pi, abs=2e-3)


def test_filters_of_a_convolution_have_a_size_each():
    w = _randn(4, 3, 2, 2)
    assert torch.equal(scaled_signs(w).flatten(1), scaled_signs(w.flatten(1))) and scaled_signs(w).flatten(1).abs().std(1).max() == 0


@pytest.mark.parametrize("stride, padding", [(1, 0), (1, 1), (2, 1)])
def test_the_scale_of_a_window_is_its_mean_size_and_the_best(stride, padding):
    x, w = _randn(2, 5, 7, 6), _randn(4, 5, 3, 3, seed=1)
    windows = nn.functional.unfold(x, 3, stride=stride, padding=padding)  # (images, 45, positions)
    scales = input_scales(x, 3, stride, padding)
    torch.testing.assert_close(scales.flatten(1), windows.abs().mean(1))
    error = lambda size: (windows - size[:, None] * binarize(windows)).square().sum()
    assert all(error(windows.abs().mean(1)) <= error(windows.abs().mean(1) * factor) for factor in (0.95, 1.05))
    exact = nn.functional.conv2d(x, w, stride=stride, padding=padding)
    both = nn.functional.conv2d(nn.functional.pad(x, [padding] * 4).sign(), scaled_signs(w), stride=stride)
    assert (scales * both - exact).square().mean() < 0.75 * exact.square().mean() < (both - exact).square().mean() * 2


def test_the_smooth_sign_has_the_slope_that_autograd_finds():
    x = _randn(500).requires_grad_()
    for beta in (0.5, 2.0, 5.0, 20.0):
        (slope,) = torch.autograd.grad(swish_sign(x, beta).sum(), x)
        torch.testing.assert_close(swish_slope(beta)(x.detach()), slope)
        assert quad(lambda t: swish_slope(beta)(torch.tensor(t, dtype=torch.float64)).item(), -60 / beta, 60 / beta, limit=200)[0] == pytest.approx(2)
    assert (swish_sign(x.detach(), 1e4) - x.detach().sign()).abs().max() < 1e-3


def test_the_triangle_is_the_slope_of_two_parabolas_that_reach_both_signs():
    x = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64).requires_grad_()
    inner = x.clamp(-1, 1)
    parabolas = torch.where(inner < 0, 2 * inner + inner**2, 2 * inner - inner**2)
    (slope,) = torch.autograd.grad(parabolas.sum(), x)
    torch.testing.assert_close(triangle(x.detach()), slope)
    assert parabolas[0] == -1 and parabolas[-1] == 1
    assert quad(lambda t: triangle(torch.tensor(t, dtype=torch.float64)).item(), -1, 1, points=[0])[0] == pytest.approx(2)
    assert ((parabolas - x.sign()).abs() <= (inner - x.sign()).abs() + 1e-12).all()  # nearer to a sign than the hard tanh


def test_a_shortcut_carries_what_signs_lose():
    """Two binary layers in a row: with shortcuts outputs take many values, and the input's small changes arrive."""
    torch.manual_seed(0)
    branch = nn.Sequential()
    branch.forward = lambda x: binarize(x) @ torch.sign(weight)
    weight, x = torch.randn(16, 16), _randn(200, 16).float()
    plain, carried = branch(branch(x)), Shortcut(branch)(Shortcut(branch)(x))
    assert len(plain.unique()) <= 17 < 1000 < len(carried.unique())
    nudged = x + 1e-4 * x.sign()
    assert torch.equal(branch(branch(nudged)), plain) and not torch.equal(Shortcut(branch)(nudged), Shortcut(branch)(x))
    with pytest.raises(ValueError, match=r"turns shape \(2, 4\) into \(2, 3\)"):
        Shortcut(nn.Linear(4, 3))(torch.ones(2, 4))


def test_the_slope_that_decays_is_that_of_its_tanh_and_never_below_one_at_zero():
    x = _randn(200).requires_grad_()
    for progress in (0.0, 0.3, 0.5, 1.0):
        t = 10 ** (2 * progress - 1)
        (slope,) = torch.autograd.grad((max(1 / t, 1) * torch.tanh(t * x)).sum(), x)
        torch.testing.assert_close(error_decay(progress)(x.detach()), slope)
        assert error_decay(progress)(torch.zeros(1)).item() >= 1 - 1e-6
    wide, steep = (error_decay(progress)(torch.tensor([2.0])).item() for progress in (0.0, 1.0))
    assert wide > 0.9 and steep < 1e-6


def test_balanced_signs_are_half_plus_and_times_a_power_of_two():
    w = _randn(16, 400) + 0.7 * torch.arange(16)[:, None] / 4
    plus = (balanced_signs(w) > 0).double().mean(1)
    assert (binarize(w) > 0).double().mean(1).max() > 0.98 and (plus - 0.5).abs().max() < 0.06
    sizes = balanced_signs(w * 3).abs()
    assert (sizes.amax(1) == sizes.amin(1)).all() and torch.equal(sizes.log2(), sizes.log2().round())
    torch.testing.assert_close(balanced_signs(w * 3), balanced_signs(w))  # the standard deviation is divided out


def test_balanced_signs_of_equal_weights_are_no_nan():
    assert balanced_signs(torch.tensor([[2.0, 2.0], [-1.0, -1.0], [0.0, 0.0]])).tolist() == [[1, 1], [-1, -1], [1, 1]]


def test_the_penalty_is_nothing_for_two_values_and_pulls_toward_them():
    assert magnitude_penalty(torch.tensor([[0.5, -0.5], [2.0, 2.0]])) == 0
    w = torch.tensor([[1.0, -1.0, -4.0]], requires_grad=True)  # a = 2, which gets no gradient
    magnitude_penalty(w).backward()
    assert w.grad.tolist() == [[-1, 1, -1]]  # descent makes 1 and -1 larger and -4 smaller


def test_clipped_masters_turn_sign_sooner():
    """A weight pushed up by 100 steps and then down by 30: clipped at 1 it follows, unclipped it is still on its way."""
    weights = [torch.zeros(1), torch.zeros(1)]
    for push in [0.1] * 100 + [-0.1] * 30:
        for weight in weights:
            weight += push
        clip_masters(weights[:1])
    assert weights[0].item() == -1 and weights[1].item() > 1


def test_a_network_of_signs_learns_digits():
    """Signs for weights and for hidden units, trained by the window; without a slope (a gradient of 0) it stays where it began."""
    train, test = lab.mnist("train")[:3000], lab.mnist("test")[:2000]

    class Signs(nn.Linear):
        slope = staticmethod(window)

        def forward(self, x):
            return nn.functional.linear(x, scaled_signs(self.weight, self.slope), self.bias)

    def accuracy(slope) -> float:
        torch.manual_seed(0)
        first, second = Signs(784, 256), Signs(256, 10)
        first.slope = second.slope = slope
        norm, dice = nn.BatchNorm1d(256), torch.Generator().manual_seed(0)
        run = lambda images: second(binarize(norm(first(images)), slope))
        masters = [first.weight, second.weight]
        optimizer, images = torch.optim.Adam([*first.parameters(), *second.parameters(), *norm.parameters()], 3e-3), train.inputs().flatten(1)
        for _ in range(5):
            for batch in torch.randperm(3000, generator=dice).split(100):
                optimizer.zero_grad()
                nn.functional.cross_entropy(run(images[batch]), train.labels[batch]).backward()
                optimizer.step()
                clip_masters(masters)
        norm.eval()
        return (run(test.inputs().flatten(1)).argmax(1) == test.labels).float().mean().item()

    assert accuracy(window) > 0.8 > accuracy(torch.zeros_like)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="x holds NaN"):
        binarize(torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="progress is 1.5"):
        error_decay(1.5)
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\), expected \(images"):
        input_scales(torch.ones(2, 3), 3)
    with pytest.raises(TypeError, match="weight has dtype torch.int64"):
        balanced_signs(torch.ones(2, 2, dtype=torch.int64))
