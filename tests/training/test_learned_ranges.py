"""Learned ranges: LSQ against torch's own learnable fake quantization, PACT's table of gradients, DoReFa's levels and averages."""

import math

import pytest
import torch

from qtoolkit.training import dorefa_activations, dorefa_gradient, dorefa_weights, lsq, lsq_step, pact


def _randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [0.05, 0.25, 1.0])
@pytest.mark.parametrize("qmin, qmax", [(-8, 7), (0, 15)])
def test_lsq_and_all_its_gradients_equal_torch(scale, qmin, qmax):
    x, weights = _randn(4000), _randn(4000, seed=1)
    ours, step = x.clone().requires_grad_(), torch.tensor(scale, requires_grad=True)
    theirs, other = x.clone().requires_grad_(), torch.tensor([scale], requires_grad=True)
    y = lsq(ours, step, qmin, qmax)
    expected = torch._fake_quantize_learnable_per_tensor_affine(theirs, other, torch.zeros(1), qmin, qmax, 1 / math.sqrt(4000 * qmax))
    (y * weights).sum().backward(), (expected * weights).sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(step.grad, other.grad[0], rtol=1e-3, atol=1e-4)
    assert torch.equal(ours.grad.bool(), theirs.grad.bool())
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_offset_learns_outside_alone_and_at_zero_is_lsq():
    x = _randn(1000)
    step, offset = torch.tensor(0.2, requires_grad=True), torch.tensor(-0.3, requires_grad=True)
    lsq(x, step, 0, 7, offset).sum().backward()
    outside = ((x + 0.3) / 0.2 < -0.5) | ((x + 0.3) / 0.2 > 7.5)
    assert offset.grad.item() == pytest.approx(outside.sum().item(), abs=1e-2)
    assert torch.equal(lsq(x, step, -8, 7), lsq(x, step, -8, 7, torch.tensor(0.0)))


def test_learning_step_and_offset_fits_an_activation_with_a_negative_tail():
    """SiLU outputs in 3 bits: LSQ+ finds a smaller error than LSQ with unsigned codes, and both a smaller one than they began with."""
    x = torch.nn.functional.silu(_randn(20_000))

    def error(learn_offset: bool) -> tuple[float, float]:
        step, offset, errors = lsq_step(x, 7).requires_grad_(), torch.tensor(0.0, requires_grad=learn_offset), []
        optimizer = torch.optim.Adam([step, offset] if learn_offset else [step], 0.01)
        for _ in range(300):
            optimizer.zero_grad()
            loss = (lsq(x, step, 0, 7, offset) - x).square().mean()
            loss.backward()
            optimizer.step()
            errors.append(loss.item())
        assert step > 0
        return errors[0], errors[-1]

    (first, plain), (_, plus) = error(False), error(True)
    assert plus < 0.7 * plain < 0.7 * first


def test_pact_is_a_clamp_in_even_levels_with_the_papers_gradients():
    x, alpha = torch.tensor([-2.0, -0.1, 0.3, 1.1, 1.9, 2.0, 5.0], requires_grad=True), torch.tensor(2.0, requires_grad=True)
    y = pact(x, alpha, 4)
    torch.testing.assert_close(y, torch.round(x.clamp(0, 2) / (2 / 15)) * (2 / 15))
    of_x, of_alpha = torch.autograd.grad(y.sum(), [x, alpha])
    assert of_x.tolist() == [0, 0, 1, 1, 1, 0, 0] and of_alpha == 2  # 2 and 5 are clamped
    torch.testing.assert_close(((x.abs() - (x - alpha).abs() + alpha) / 2).detach(), x.detach().clamp(0, 2))


def test_the_clip_of_pact_shrinks_under_its_penalty_until_it_clamps_what_matters():
    x, ends = _randn(5000).relu(), []
    for penalty in (0.0, 0.02):
        alpha = torch.tensor(10.0, requires_grad=True)
        optimizer = torch.optim.Adam([alpha], 0.05)
        for _ in range(400):
            optimizer.zero_grad()
            ((pact(x, alpha, 2) - x).square().mean() + penalty * alpha**2).backward()
            optimizer.step()
        ends.append(alpha.item())
    assert ends[0] == 10 and 0.5 < ends[1] < 5


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_dorefa_weights_have_all_levels_and_both_ends(bits):
    w = _randn(20_000).requires_grad_()
    levels = dorefa_weights(w, bits)
    torch.testing.assert_close(levels.detach().unique(), torch.linspace(-1, 1, 2**bits), atol=1e-6, rtol=0)
    levels.sum().backward()
    torch.testing.assert_close(w.grad, (1 - torch.tanh(w.detach()) ** 2) / torch.tanh(w.detach()).abs().max())


def test_dorefa_weights_of_one_bit_are_scaled_signs_and_zeros_harmless():
    w = _randn(50)
    torch.testing.assert_close(dorefa_weights(w, 1), torch.where(w < 0, -1.0, 1.0) * w.abs().mean())
    assert dorefa_weights(torch.zeros(3), 4).isfinite().all()


def test_dorefa_activations_are_levels_of_the_unit_interval():
    x = _randn(1000).requires_grad_()
    y = dorefa_activations(x, 3)
    torch.testing.assert_close(y, torch.round(x.clamp(0, 1) * 7) / 7)
    y.sum().backward()
    assert torch.equal(x.grad, ((x >= 0) & (x <= 1)).float())


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_dorefa_gradients_are_right_on_average(bits):
    g = _randn(3, 10) * torch.tensor([[1.0], [1e-3], [50.0]])
    draws = torch.stack([dorefa_gradient(g, bits, torch.Generator().manual_seed(seed)) for seed in range(4000)])
    size = g.abs().amax(1, keepdim=True)
    inside = g.abs() < size * (1 - 1 / (2**bits - 1))  # there the noise is not cut off
    if bits > 1:
        assert ((draws.mean(0) - g).abs() / size)[inside].max() < 0.05
    ends = torch.linspace(-1, 1, 2**bits)
    assert (((draws / size)[..., None] - ends).abs().amin(-1) < 1e-5).all()
    assert dorefa_gradient(torch.zeros(2, 3), bits, torch.Generator()).abs().max() <= 1


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="step has the value 0"):
        lsq(torch.ones(2), torch.tensor(0.0), -8, 7)
    with pytest.raises(ValueError, match="qmax is 0"):
        lsq(torch.ones(2), torch.tensor(1.0), -8, 0)
    with pytest.raises(ValueError, match="alpha has the value -1"):
        pact(torch.ones(2), torch.tensor(-1.0), 4)
    with pytest.raises(ValueError, match="bits is 0"):
        dorefa_weights(torch.ones(2), 0)
    with pytest.raises(ValueError, match="NaN"):
        dorefa_gradient(torch.full((1, 2), float("nan")), 4, torch.Generator())
