"""Rounding by chance: its mean and variance, its edges, and what it saves; QuantNoise at both ends and between."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from qtoolkit import lab
from qtoolkit.quantizers import Affine, Scheme, quantize
from qtoolkit.training import QuantNoise, stochastic_quantize, stochastic_round, stochastic_signs

DRAWS = 1_000_000


def _dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("x", [2.3, -2.3, 0.5, -0.01, 7.0])
def test_mean_and_variance_are_those_of_a_coin(x):
    rounded, part = stochastic_round(torch.full((DRAWS,), x, dtype=torch.float64), _dice()), x - torch.tensor(x).floor().item()
    assert rounded.mean().item() == pytest.approx(x, abs=5 * 0.5 / DRAWS**0.5)
    assert rounded.var().item() == pytest.approx(part * (1 - part), abs=2e-3)
    assert set(rounded.unique().tolist()) <= {x // 1, x // 1 + 1}


def test_whole_numbers_stay_whatever_the_dice():
    """floor(x + u) in float32 turns some 2 into 3: 2 + 0.99999994 is 3."""
    x = torch.full((DRAWS,), 4097.0)
    assert torch.equal(stochastic_round(x, _dice()), x)
    u = torch.rand(DRAWS, generator=_dice())
    assert not torch.equal(torch.floor(x + u), x)


def test_the_same_seed_gives_the_same_codes_and_another_others():
    x = torch.randn(1000, generator=_dice(1))
    assert torch.equal(stochastic_round(x, _dice()), stochastic_round(x, _dice()))
    assert not torch.equal(stochastic_round(x, _dice()), stochastic_round(x, _dice(2)))


def test_codes_are_the_neighbors_of_the_nearest_and_exact_on_average():
    x = torch.linspace(-1.2, 1.4, 200)
    scale, zero_point = 0.1, 3
    nearest = quantize(x, scale, zero_point, -8, 15).int()
    codes = torch.stack([stochastic_quantize(x, scale, zero_point, -8, 15, _dice(seed)) for seed in range(3000)])
    assert (codes - nearest).abs().max() <= 1 and codes.dtype == torch.int32
    inside = (x > -1.1 + 1e-6) & (x < 1.2 - 1e-6)
    torch.testing.assert_close(((codes.float() - zero_point) * scale).mean(0)[inside], x[inside], atol=5 * 0.05 / 3000**0.5, rtol=0)
    assert (codes[:, x < -1.1 - 1e-6] == -8).all() and (codes[:, x > 1.2 + 1e-6] == 15).all()


def test_small_updates_add_up_where_the_nearest_code_never_moves():
    """A weight on a grid of step 1 and a thousand updates of 0.01: 10 on average, and 0 with rounding to nearest."""
    dice, weight, stuck = _dice(), torch.zeros(500), torch.zeros(500)
    for _ in range(1000):
        weight, stuck = stochastic_round(weight + 0.01, dice), (stuck + 0.01).round()
    assert weight.mean().item() == pytest.approx(10, abs=1) and stuck.abs().max() == 0


def test_signs_are_the_clipped_number_on_average():
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)
    signs = torch.stack([stochastic_signs(x, _dice(seed)) for seed in range(4000)])
    assert set(signs.unique().tolist()) == {-1.0, 1.0} and signs.dtype == torch.float64
    torch.testing.assert_close(signs.mean(0), x.clamp(-1, 1), atol=5 / 4000**0.5, rtol=0)
    assert (signs[:, x <= -1] == -1).all() and (signs[:, x >= 1] == 1).all()


def _fake(weight: torch.Tensor) -> torch.Tensor:
    return Affine.fit(weight, Scheme(bits=3)).fake(weight)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_weights_is_quantized_and_the_rest_stays(share):
    weight, noise = torch.randn(200, 100, generator=_dice()), QuantNoise(_fake, share, _dice(1))
    noisy, fake = noise(weight), _fake(weight)
    assert ((noisy == weight) | torch.isclose(noisy, fake)).all()
    assert (noisy != weight).float().mean().item() == pytest.approx(share, abs=0.02)
    assert not share % 1 or not torch.equal(noisy, noise(weight))
    torch.testing.assert_close(noise.eval()(weight), fake)


def test_blocks_are_quantized_together():
    weight, noise = torch.randn(40, 24, generator=_dice()), QuantNoise(_fake, 0.5, _dice(1), block=8)
    chosen = (noise(weight) != weight).unflatten(1, (3, 8))
    assert ((chosen.all(2) | ~chosen.any(2)).float().mean() == 1) and 0 < chosen.float().mean() < 1


def test_the_gradient_passes_to_every_weight():
    """Exactly where it stayed, straight through where it was quantized: as if the output came from the weights themselves."""
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4), torch.randn(5, 6)
    register_parametrization(layer, "weight", QuantNoise(_fake, 0.5, _dice()))
    out = layer(x)
    out.backward(torch.ones_like(out))
    torch.testing.assert_close(layer.parametrizations.weight.original.grad, x.sum(0).expand(4, 6))


def test_training_with_noise_prepares_for_rounding():
    """Digits, a small network, weights of one bit afterwards: the more of them were rounded while it trained, the better."""
    train, test = lab.mnist("train")[:3000], lab.mnist("test")[:2000]

    def accuracy(share: float) -> float:
        torch.manual_seed(0)
        model, dice = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)), _dice()
        for layer in model[::2]:
            register_parametrization(layer, "weight", QuantNoise(lambda w: w.abs().mean(1, keepdim=True) * torch.where(w < 0, -1.0, 1.0), share, dice))
        lab.fit(model, train.inputs().flatten(1), train.labels, epochs=6)
        return (model.eval()(test.inputs().flatten(1)).argmax(1) == test.labels).float().mean().item()

    without, half, all_of_them = accuracy(0.0), accuracy(0.5), accuracy(1.0)
    assert half > without + 0.005 and all_of_them > without + 0.02


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="share is 1.5"):
        QuantNoise(_fake, 1.5, _dice())
    with pytest.raises(ValueError, match="block is 0"):
        QuantNoise(_fake, 0.5, _dice(), block=0)
    with pytest.raises(ValueError, match=r"shape \(3, 5\) does not split into blocks of 2"):
        QuantNoise(_fake, 0.5, _dice(), block=2)(torch.ones(3, 5))
    with pytest.raises(ValueError, match="x holds NaN"):
        stochastic_round(torch.tensor([float("nan")]), _dice())
    with pytest.raises(TypeError, match="int64"):
        stochastic_signs(torch.ones(2, dtype=torch.int64), _dice())
    with pytest.raises(ValueError, match="scale has the value 0"):
        stochastic_quantize(torch.ones(2), 0.0, 0, -8, 7, _dice())
