"""AdaRound against every choice there is, against rounding to nearest, and at its edges."""

import itertools

import pytest
import torch

from qtoolkit import lab
from qtoolkit.posttraining import adaround, input_hessian, rectified_sigmoid
from qtoolkit.posttraining.adaround import _Neighbors, _undecided
from qtoolkit.quantizers import Affine, PerChannel, Scheme


def _randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _correlated(n: int, inputs: int, seed: int = 1) -> torch.Tensor:
    return _randn(n, inputs, seed=seed) @ _randn(inputs, inputs, seed=seed + 1) / inputs**0.5


def _error(weight: torch.Tensor, rounded: torch.Tensor, x: torch.Tensor) -> float:
    return ((rounded - weight) @ x.T).square().mean().item()


def test_it_finds_nearly_the_best_of_all_choices():
    """1,024 choices for each of four outputs, tried one by one."""
    weight, x = _randn(4, 10), _correlated(100, 10)
    quantizer = Affine.fit(weight, Scheme(bits=3, narrow_range=True))
    below = torch.floor(weight / quantizer.scale)
    choices = torch.tensor(list(itertools.product([0.0, 1.0], repeat=10)))
    every = ((below[:, None] + choices).clamp(-3, 3) * quantizer.scale - weight[:, None]) @ x.T
    best = every.square().mean(2).amin(1).mean().item()
    found, nearest = (_error(weight, codes.dequantize(), x) for codes in (adaround(weight, input_hessian(x), quantizer), quantizer.encode(weight)))
    assert best <= found * (1 + 1e-5) and found < 1.2 * best and nearest > 1.3 * best


@pytest.mark.parametrize("scheme", [Scheme(bits=3, granularity=PerChannel()), Scheme(bits=4, symmetric=False, signed=False), Scheme(bits=2)])
def test_each_code_is_the_one_below_or_the_one_above(scheme):
    weight, x = _randn(5, 30), _correlated(200, 30)
    quantizer = Affine.fit(weight, scheme)
    codes = adaround(weight, input_hessian(x), quantizer, steps=200).codes.float()
    exact = weight / quantizer.scale + quantizer.zero_point
    bound = lambda codes: codes.clamp(scheme.qmin, scheme.qmax)
    assert ((codes == bound(exact.floor())) | (codes == bound(exact.floor() + 1))).all()
    assert not torch.equal(codes, quantizer.encode(weight).codes.float())


def test_it_starts_from_the_exact_weights():
    weight = _randn(6, 40)
    neighbors = _Neighbors(weight, Affine.fit(weight, Scheme(bits=4, narrow_range=True, granularity=PerChannel())))
    torch.testing.assert_close(neighbors.weights(rectified_sigmoid(neighbors.start())), weight)


def test_the_stretched_sigmoid_reaches_both_ends():
    v = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    h = rectified_sigmoid(v)
    edge = torch.log(torch.tensor(11.0, dtype=torch.float64))  # 1.2 sigmoid(-edge) = 0.1
    assert torch.equal(h == 0, v <= -edge) and torch.equal(h == 1, v >= edge)
    torch.testing.assert_close(h + h.flip(0), torch.ones_like(h))


def test_the_second_term_counts_open_choices_and_first_waits():
    decided, halves = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.5, 0.0, 1.0, 0.5])
    assert _undecided(halves, 0.1) == 0 and _undecided(decided, 0.9) == 0
    assert _undecided(halves, 0.9).item() == pytest.approx(0.5)
    nearly = torch.tensor([0.25])
    assert _undecided(nearly, 0.2).item() == pytest.approx(1 - 0.5**20) and _undecided(nearly, 1.0).item() == pytest.approx(1 - 0.5**2)


def test_a_real_layer_loses_less_on_images_it_has_not_seen():
    weight = lab.trained("lenet-300-100")[3].weight.detach()
    network, images = lab.trained("lenet-300-100")[:3], [lab.mnist(part)[:1000].inputs() for part in ("train", "test")]
    with torch.no_grad():
        seen, unseen = (network(part) for part in images)
    quantizer = Affine.fit(weight, Scheme(bits=3, granularity=PerChannel()))
    found = adaround(weight, input_hessian(seen), quantizer, steps=500)
    assert _error(weight, found.dequantize(), unseen) < 0.4 * _error(weight, quantizer.fake(weight), unseen)


def test_it_is_never_worse_than_the_nearest_codes():
    """One step is too few to decide anything, a huge one decides badly; and where nothing can be gained, nothing changes."""
    weight, x = _randn(3, 20), _correlated(100, 20)
    quantizer = Affine.fit(weight, Scheme(bits=3))
    assert torch.equal(adaround(weight, torch.eye(20), quantizer, steps=1).codes, quantizer.encode(weight).codes)
    wild = adaround(weight, input_hessian(x), quantizer, steps=2, learning_rate=1e4)
    assert _error(weight, wild.dequantize(), x) <= _error(weight, quantizer.fake(weight), x)
    assert torch.equal(adaround(quantizer.fake(weight), input_hessian(x), quantizer, steps=50).codes, quantizer.encode(weight).codes)


def test_progress_wraps_the_steps_and_inputs_stay():
    weight, hessian, seen = _randn(2, 5).requires_grad_(), input_hessian(_randn(30, 5)), []
    kept = weight.detach().clone(), hessian.clone()
    adaround(weight, hessian, Affine(Scheme(bits=3), 0.5), steps=7, progress=lambda steps: (seen.append(step) or step for step in steps))
    assert seen == list(range(7)) and torch.equal(weight, kept[0]) and torch.equal(hessian, kept[1]) and weight.grad is None


def test_what_does_not_fit_is_named():
    quantizer = Affine(Scheme(bits=3), 0.5)
    with pytest.raises(ValueError, match="steps is 0"):
        adaround(_randn(2, 3), torch.eye(3), quantizer, steps=0)
    with pytest.raises(ValueError, match=r"expected a symmetric \(3, 3\)"):
        adaround(_randn(2, 3), torch.eye(4), quantizer)
