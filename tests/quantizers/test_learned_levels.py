"""Learned levels, intervals and clips: forwards on the grid, gradients against autograd, finite differences and closed forms."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from qtoolkit.quantizers import APoT, Codebook, LearnedClip, LearnedInterval, LearnedLevels, optimal_kmeans, standardize

LEVELS = torch.tensor([-1.0, -0.25, 0.5, 2.0])


def sample(n=200, seed=0):
    return 2 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


def test_levels_get_the_summed_gradient_of_a_lookup():
    x, out_grad = sample(), sample(seed=1)
    layer = LearnedLevels(LEVELS)
    layer(x).backward(out_grad)
    table = LEVELS.clone().requires_grad_()
    codes = (x[:, None] - LEVELS).abs().argmin(1)
    torch.nn.functional.embedding(codes, table[:, None])[:, 0].backward(out_grad)
    assert torch.allclose(layer.levels.grad, table.grad, atol=1e-6)
    by_hand = torch.stack([out_grad[codes == k].sum() for k in range(4)])
    assert torch.allclose(layer.levels.grad, by_hand, atol=1e-5)  # the sum, not the mean


def test_forward_is_the_code_book_and_x_gets_its_gradient_inside():
    x = sample().requires_grad_()
    y = LearnedLevels(LEVELS)(x)
    assert torch.equal(y, Codebook(LEVELS).fake(x.detach()))
    y.sum().backward()
    assert torch.equal(x.grad, ((x >= -1) & (x <= 2)).float())


def test_training_the_levels_reaches_lloyd_s_optimum():
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    layer = LearnedLevels(torch.tensor([-2.0, -1.0, 1.0, 2.0]))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(300):
        optimizer.zero_grad()
        (layer(x) - x).square().mean().backward()
        optimizer.step()
        layer.sort_()
    best = optimal_kmeans(x[None], 4)
    assert (layer(x) - x).square().mean().item() == pytest.approx(best.errors.item() / len(x), rel=1e-3)


def test_levels_that_crossed_are_sorted():
    layer = LearnedLevels(LEVELS)
    with torch.no_grad():
        layer.levels.copy_(LEVELS.flip(0))
    assert torch.equal(layer.sort_().levels.detach(), LEVELS)


def interval_by_definition(x, c, d, q, gamma=1.0):
    if abs(x) < c - d:
        t = 0.0
    elif abs(x) > c + d:
        t = 1.0
    else:
        t = (0.5 / d * abs(x) - 0.5 * c / d + 0.5) ** gamma
    return round(q * t) / q * (1 if x > 0 else -1 if x < 0 else 0)


@given(x=st.floats(-3, 3, width=32), bits=st.integers(2, 6), c=st.floats(0.2, 1.5), d=st.floats(0.1, 1.0), gamma=st.sampled_from([None, 1.0, 0.5, 2.0]))
def test_interval_forward_is_the_paper_s_transformer_and_discretizer(x, bits, c, d, gamma):
    q = 2 ** (bits - 1) - 1
    theirs = [interval_by_definition(x + e, c, d, q, gamma or 1.0) for e in (-1e-4, 0, 1e-4)]
    ours = LearnedInterval(bits, c, d, gamma)(torch.tensor([x])).item()
    assert min(abs(ours - t) for t in theirs) < 1e-5  # near a tie float32 may take the neighbor


def test_interval_gradients_are_the_closed_form_inside_and_nothing_outside():
    c, d = 0.8, 0.5
    for value, inside in [(0.1, False), (0.5, True), (-0.9, True), (1.25, True), (2.0, False), (-2.0, False)]:
        layer, x = LearnedInterval(4, c, d), torch.tensor([value], requires_grad=True)
        layer(x).sum().backward()
        sign = 1 if value > 0 else -1
        expected = (0.5 / d, -0.5 / d * sign, -0.5 * (abs(value) - c) / d**2 * sign) if inside else (0, 0, 0)
        assert (x.grad.item(), layer.center.grad.item(), layer.half_width.grad.item()) == pytest.approx(expected, abs=1e-5)


def test_interval_exponent_learns_by_its_closed_form():
    layer = LearnedInterval(4, 0.8, 0.5, gamma=2.0)
    layer(torch.tensor([-0.9])).sum().backward()
    t = 0.9 - 0.8 + 0.5
    assert layer.gamma.grad.item() == pytest.approx(-(t**2) * math.log(t), rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_interval_gradients_stay_finite_for_every_gamma(gamma):
    layer, x = LearnedInterval(4, 0.5, 0.5, gamma), torch.linspace(-2, 2, 101).requires_grad_()
    layer(x).sum().backward()
    assert x.grad.isfinite().all() and layer.center.grad.isfinite() and layer.half_width.grad.isfinite() and layer.gamma.grad.isfinite()


def test_clip_gradient_is_sign_outside_and_rounding_error_inside():
    magnitudes = APoT(4).magnitudes()
    table = torch.cat([-magnitudes[1:].flip(0), magnitudes])
    x, s = sample(), 1.3
    layer, inputs = LearnedClip(table, s), x.clone().requires_grad_()
    y = layer(inputs)
    unit = (x / s).clamp(-1, 1)
    nearest = table[(unit[:, None] - table).abs().argmin(1)]
    assert torch.allclose(y, s * nearest, atol=1e-6)
    y.sum().backward()
    outside = (x / s).abs() > 1
    assert layer.clip.grad.item() == pytest.approx(torch.where(outside, x.sign(), nearest - x / s).sum().item(), rel=1e-4)
    assert torch.equal(inputs.grad, (~outside).float())


def test_clip_gradient_is_the_slope_of_the_straight_through_surrogate():
    """Where codes do not change, y = s Q with x/s let through: d/ds of s (x/s + [Q - x/s]) is Q - x/s; checked by differences."""
    table, x, s, e = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([0.3]), 1.0, 1e-3
    residue = 0.0 - 0.3
    slope = ((s + e) * (0.3 / (s + e) + residue) - s * (0.3 / s + residue)) / e
    layer = LearnedClip(table, s)
    layer(x).sum().backward()
    assert layer.clip.grad.item() == pytest.approx(slope, abs=1e-3)


@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100), shift=st.floats(-5, 5))
def test_standardized_weights_have_mean_0_and_deviation_1(seed, scale, shift):
    w = standardize(sample(500, seed).double() * scale + shift)
    assert w.mean().abs() < 1e-9 and w.std().item() == pytest.approx(1)


def test_a_constant_weight_standardizes_to_zero():
    assert standardize(torch.full((4,), 3.0)).tolist() == [0] * 4 and standardize(torch.ones(1)).tolist() == [0]
