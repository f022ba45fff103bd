"""The straight-through estimator against torch's own fake quantization, bit for bit, forward and backward; and training with it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from qtoolkit import lab
from qtoolkit.quantizers import Affine, PerChannel, PerGroup, Scheme, fake_quantize
from qtoolkit.training import QuantizedTraining, straight_through


@given(seed=st.integers(0, 10**6), exponent=st.integers(-6, 2), zero_point=st.integers(-8, 7))
def test_forward_and_backward_equal_torch(seed, exponent, zero_point):
    """Steps that are powers of two: there torch's multiplication by 1 / S is our division."""
    dice, scale = torch.Generator().manual_seed(seed), 2.0**exponent
    x = torch.randn(200, generator=dice) * 12 * scale
    ours, theirs, weights = x.clone().requires_grad_(), x.clone().requires_grad_(), torch.randn(200, generator=dice)
    y, expected = straight_through(ours, scale, zero_point, -8, 7), torch.fake_quantize_per_tensor_affine(theirs, scale, zero_point, -8, 7)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(y, expected) and torch.equal(ours.grad, theirs.grad)


def test_a_scale_for_each_channel_equals_torch():
    x, scale, zero_point = torch.randn(4, 50), torch.tensor([0.25, 0.5, 1.0, 0.125]), torch.tensor([0, 3, -2, 1], dtype=torch.int32)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = straight_through(ours, scale[:, None], zero_point[:, None], -4, 3)
    expected = torch.fake_quantize_per_channel_affine(theirs, scale, zero_point, 0, -4, 3)
    y.sum().backward(), expected.sum().backward()
    assert torch.equal(y, expected) and torch.equal(ours.grad, theirs.grad)


def test_a_code_at_the_end_of_the_range_passes_and_one_that_was_clamped_does_not():
    x = torch.tensor([7.4, 7.6, -8.4, -8.6], requires_grad=True)  # rounded codes 7, 8, -8, -9
    straight_through(x, 1.0, 0, -8, 7).sum().backward()
    assert x.grad.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("scheme", [Scheme(bits=3), Scheme(bits=4, symmetric=False, granularity=PerChannel()), Scheme(bits=2, granularity=PerGroup(5))])
def test_a_layer_computes_with_the_codes_of_its_real_weights(scheme):
    torch.manual_seed(0)
    layer, x = nn.Linear(10, 6), torch.randn(3, 10)
    register_parametrization(layer, "weight", QuantizedTraining(scheme))
    real = layer.parametrizations.weight.original
    torch.testing.assert_close(layer.weight, Affine.fit(real.detach(), scheme).fake(real.detach()))
    layer(x).sum().backward()
    inside = torch.isclose(real.grad, x.sum(0).expand(6, 10))
    assert (inside | (real.grad == 0)).all() and inside.float().mean() > 0.8


def test_a_small_update_moves_the_real_weight_and_many_move_the_code():
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.4]]))  # codes 3 and 0 at the step 1
    register_parametrization(layer, "weight", QuantizedTraining(Scheme(bits=3, narrow_range=True)))
    optimizer, codes = torch.optim.SGD(layer.parameters(), 0.02), []
    for _ in range(10):
        optimizer.zero_grad()
        (-layer(torch.tensor([[0.0, 1.0]]))).sum().backward()
        optimizer.step()
        codes.append(layer.weight[0, 1].item())
    assert layer.parametrizations.weight.original[0, 1].item() == pytest.approx(0.6)
    assert codes == [0.0] * 4 + [0.0 if codes[4] == 0 else 1.0] + [1.0] * 5


def test_training_with_codes_beats_rounding_afterwards():
    """Digits, a small network, weights of two bits."""
    train, test = lab.mnist("train")[:3000], lab.mnist("test")[:2000]
    scheme = Scheme(bits=2, narrow_range=True, granularity=PerChannel())

    def accuracy(quantized: bool) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
        for layer in model[::2] if quantized else []:
            register_parametrization(layer, "weight", QuantizedTraining(scheme))
        lab.fit(model, train.inputs().flatten(1), train.labels, epochs=6)
        for layer in model[::2] if not quantized else []:
            layer.weight.data = Affine.fit(layer.weight.data, scheme).fake(layer.weight.data)
        return (model(test.inputs().flatten(1)).argmax(1) == test.labels).float().mean().item()

    assert accuracy(True) > accuracy(False) + 0.01


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="scale has the value 0"):
        straight_through(torch.ones(2), 0.0, 0, -8, 7)
    with pytest.raises(ValueError, match="x holds NaN"):
        straight_through(torch.tensor([float("nan")]), 1.0, 0, -8, 7)
    with pytest.raises(TypeError, match="Scheme"):
        QuantizedTraining("int4")
    assert torch.equal(straight_through(torch.ones(2), 0.3, 0, -8, 7), fake_quantize(torch.ones(2), 0.3, 0, -8, 7))
