"""Pulls toward levels: the proximal step against brute force, the sine against its own derivative, the blend at both ends."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit.training import alpha_blend, sine_penalty, toward_levels

SIGNS = torch.tensor([-1.0, 1.0])


@given(w=st.floats(-3, 3), strength=st.floats(0, 2), levels=st.sampled_from([(-1.0, 1.0), (-1.0, 0.0, 1.0), (-2.0, -0.3, 0.1, 1.5)]))
def test_the_proximal_step_is_the_minimum_found_by_trying(w, strength, levels):
    grid, at = torch.linspace(-3.5, 3.5, 70001, dtype=torch.float64), torch.tensor(levels, dtype=torch.float64)
    cost = lambda v: 0.5 * (v - w) ** 2 + strength * (v[:, None] - at).abs().amin(1)
    found = toward_levels(torch.tensor([w], dtype=torch.float64), at, strength)
    assert cost(found).item() <= cost(grid).min().item() + 1e-9
    assert cost(found).item() >= cost(grid).min().item() - 1e-3


def test_the_ends_of_the_strength_are_no_step_and_rounding():
    w = torch.randn(1000)
    assert torch.equal(toward_levels(w, SIGNS, 0.0), SIGNS[(w > 0).long()] + (w - SIGNS[(w > 0).long()]))
    assert torch.equal(toward_levels(w, SIGNS, float("inf")), SIGNS[(w > 0).long()])
    assert torch.equal(toward_levels(SIGNS, SIGNS, 0.7), SIGNS)


def test_growing_strength_brings_a_regression_onto_its_levels():
    """Real gradients, then the step: at the end every weight is a sign, and the signs are those that the data asks for."""
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(300, 12, generator=dice)
    signs = torch.randint(0, 2, (12,), generator=dice) * 2.0 - 1
    w, y = torch.zeros(12), x @ (1.3 * signs)
    for step in range(200):
        w = toward_levels(w - 0.05 * x.T @ (x @ w - y) / 300, SIGNS, 1e-3 * step)
    assert torch.equal(w, signs)


def test_the_sine_is_nothing_on_the_grid_and_one_midway():
    scale = torch.tensor(0.25, dtype=torch.float64)
    grid = (torch.arange(-8, 9) * scale).requires_grad_()
    penalty = sine_penalty(grid, scale)
    penalty.backward()
    assert penalty.item() < 1e-25 and grid.grad.abs().max() < 1e-12
    midway = (torch.arange(-8, 8) + 0.5) * scale
    assert sine_penalty(midway, scale).item() == pytest.approx(16)
    inputs = torch.randn(20, dtype=torch.float64, requires_grad=True), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sine_penalty, inputs)


def test_training_on_the_sine_alone_sorts_weights_onto_the_grid():
    w = torch.randn(500, generator=torch.Generator().manual_seed(0)).requires_grad_()
    start, optimizer = w.detach().clone(), torch.optim.SGD([w], 0.01)
    on_grid = lambda: ((w / 0.5 - (w / 0.5).round()).abs() < 0.02).float().mean().item()
    before = on_grid()
    for _ in range(200):
        optimizer.zero_grad()
        sine_penalty(w, 0.5).backward()
        optimizer.step()
    assert before < 0.1 and on_grid() > 0.95
    assert (w - start).abs().max() <= 0.25 + 1e-6  # each to its own nearest


def test_the_blend_is_real_at_0_and_quantized_at_1_and_its_gradient_fades():
    w = torch.randn(50, requires_grad=True)
    assert torch.equal(alpha_blend(w, torch.round, 0.0), w) and torch.equal(alpha_blend(w, torch.round, 1.0), w.round())
    for alpha in (0.0, 0.3, 1.0):
        (gradient,) = torch.autograd.grad(alpha_blend(w, torch.round, alpha).sum(), w)
        torch.testing.assert_close(gradient, torch.full((50,), 1 - alpha))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="rising order"):
        toward_levels(torch.ones(2), torch.tensor([1.0, -1.0]), 0.1)
    with pytest.raises(ValueError, match="strength is -1"):
        toward_levels(torch.ones(2), SIGNS, -1)
    with pytest.raises(ValueError, match="scale has the value 0"):
        sine_penalty(torch.ones(2), 0.0)
    with pytest.raises(ValueError, match="alpha is 2"):
        alpha_blend(torch.ones(2), torch.round, 2)
    with pytest.raises(ValueError, match="NaN"):
        toward_levels(torch.tensor([float("nan")]), SIGNS, 0.1)
