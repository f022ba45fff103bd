"""GPTQ against its definition without a Cholesky factor (OBQ in a fixed order), against rounding to nearest, and at its edges."""

import pytest
import torch

from qtoolkit import lab
from qtoolkit.posttraining import gptq, input_hessian
from qtoolkit.quantizers import Affine, Codebook, PerChannel, PerGroup, PerTensor, Scheme


def _randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _correlated(n: int, inputs: int, seed: int = 1) -> torch.Tensor:
    return _randn(n, inputs, seed=seed) @ _randn(inputs, inputs, seed=seed + 1) / inputs**0.5


def _error(weight: torch.Tensor, rounded: torch.Tensor, x: torch.Tensor) -> float:
    return ((rounded - weight) @ x.T).square().mean().item()


def optimal_brain_quantizer(weight: torch.Tensor, hessian: torch.Tensor, quantizer: Affine) -> torch.Tensor:
    """Row by row: round the first weight, let the others answer, strike it out of the inverse; Hassibi and Stork's formulas as they stand."""
    rounded = torch.empty_like(weight)
    for row, (w, scale) in enumerate(zip(weight.clone(), quantizer.scale.expand(len(weight), 1))):
        inverse = torch.linalg.inv(hessian)
        for i in range(len(w)):
            q = (w[i] / scale).round().clamp(quantizer.scheme.qmin, quantizer.scheme.qmax) * scale
            rounded[row, i] = q
            w[i + 1 :] -= (w[i] - q) / inverse[0, 0] * inverse[0, 1:]
            inverse = (inverse - torch.outer(inverse[:, 0], inverse[0]) / inverse[0, 0])[1:, 1:]
    return rounded


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel()])
@pytest.mark.parametrize("inputs", [1, 7, 130, 300])
def test_equals_the_optimal_brain_quantizer_in_the_same_order(granularity, inputs):
    weight, x = _randn(4, inputs), _correlated(2 * inputs, inputs)
    hessian, quantizer = input_hessian(x), Affine.fit(weight, Scheme(bits=3, granularity=granularity))
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(inputs)
    torch.testing.assert_close(gptq(weight, hessian, quantizer).dequantize(), optimal_brain_quantizer(weight, damped, quantizer))


def test_a_diagonal_hessian_leaves_rounding_to_nearest():
    weight = _randn(6, 200)
    for scheme in (Scheme(bits=3, granularity=PerChannel()), Scheme(bits=4, symmetric=False, signed=False)):
        quantizer = Affine.fit(weight, scheme)
        assert torch.equal(gptq(weight, torch.diag(_randn(200).abs()), quantizer).codes, quantizer.encode(weight).codes)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_real_layer_loses_less_on_images_it_has_not_seen(bits):
    weight = lab.trained("lenet-300-100")[1].weight.detach()
    seen, unseen = (lab.mnist(part)[:1000].inputs().flatten(1) for part in ("train", "test"))
    quantizer = Affine.fit(weight, Scheme(bits=bits, granularity=PerChannel()))
    found = gptq(weight, input_hessian(seen), quantizer)
    assert _error(weight, found.dequantize(), unseen) < 0.4 * _error(weight, quantizer.fake(weight), unseen)
    assert found.quantizer is quantizer and found.codes.abs().max() <= 2 ** (bits - 1)


def test_inputs_that_were_always_zero_are_rounded_to_nearest():
    weight, x = _randn(3, 20), _correlated(100, 20)
    x[:, [0, 7, 19]] = 0
    quantizer = Affine.fit(weight, Scheme(bits=3))
    codes = gptq(weight, input_hessian(x), quantizer).codes
    assert torch.equal(codes[:, [0, 7, 19]], quantizer.encode(weight).codes[:, [0, 7, 19]])
    assert torch.equal(gptq(weight, torch.zeros(20, 20), quantizer).codes, quantizer.encode(weight).codes)


def test_fewer_inputs_than_weights_need_damping():
    weight, x = _randn(3, 20), _correlated(5, 20)
    quantizer = Affine.fit(weight, Scheme(bits=3))
    assert _error(weight, gptq(weight, input_hessian(x), quantizer).dequantize(), x) < _error(weight, quantizer.fake(weight), x)
    with pytest.raises(ValueError, match="not positive definite with damp=0"):
        gptq(weight, input_hessian(x) - 1e-9 * torch.eye(20), quantizer, damp=0)


def test_the_hessian_is_the_mean_outer_product():
    x = _randn(3, 5, 4)
    expected = sum(torch.outer(row, row) for row in x.reshape(-1, 4)) / 15
    torch.testing.assert_close(input_hessian(x.float()), expected, rtol=1e-5, atol=1e-6)
    weight, other = _randn(2, 4), _randn(2, 4, seed=9)
    change = other - weight
    assert (change @ input_hessian(x) @ change.T).trace().item() == pytest.approx(2 * _error(weight, other, x.reshape(-1, 4)))


def test_the_weights_and_the_hessian_stay_as_they_were():
    weight, hessian = _randn(3, 9), input_hessian(_correlated(30, 9))
    kept = weight.clone(), hessian.clone()
    gptq(weight, hessian, Affine.fit(weight, Scheme(bits=3)))
    assert torch.equal(weight, kept[0]) and torch.equal(hessian, kept[1])


def test_what_does_not_fit_is_named():
    weight, hessian = _randn(3, 4), torch.eye(4, dtype=torch.float64)
    quantizer = Affine.fit(weight, Scheme(bits=3))
    with pytest.raises(ValueError, match=r"weight has shape \(3, 4, 1\), expected \(outputs, inputs\)"):
        gptq(weight[..., None], hessian, quantizer)
    with pytest.raises(ValueError, match=r"hessian has shape \(3, 3\), expected a symmetric \(4, 4\)"):
        gptq(weight, hessian[:3, :3], quantizer)
    with pytest.raises(ValueError, match="symmetric"):
        gptq(weight, hessian + torch.triu(torch.ones(4, 4), 1), quantizer)
    with pytest.raises(TypeError, match="Codebook, expected an Affine"):
        gptq(weight, hessian, Codebook(torch.tensor([-1.0, 1.0])))
    with pytest.raises(ValueError, match=r"6 blocks under PerGroup\(size=2"):
        gptq(weight, hessian, Affine.fit(weight, Scheme(bits=3, granularity=PerGroup(2))))
    with pytest.raises(ValueError, match="5 blocks"):
        gptq(weight, hessian, Affine(Scheme(bits=3, granularity=PerChannel()), torch.ones(5)))
    with pytest.raises(ValueError, match="damp is -1"):
        gptq(weight, hessian, quantizer, damp=-1)
    with pytest.raises(ValueError, match="x has no axis"):
        input_hessian(torch.tensor(1.0))
