"""Low rank against numpy and Eckart-Young; HashedNets against its definition, a second MurmurHash and a summed gradient."""

import doctest

import numpy as np
import pytest
import torch
from torch import nn

from qtoolkit.compression import hashed, lowrank
from qtoolkit.compression.hashed import HashedLinear, hash32
from qtoolkit.compression.lowrank import factorize, factorize_, low_rank_linear, rank_for


def test_docstrings_run():
    assert doctest.testmod(lowrank).failed == 0
    assert doctest.testmod(hashed).failed == 0


@pytest.mark.parametrize("rank", [1, 3, 12])
def test_the_error_is_the_dropped_singular_values(rank):
    weight = torch.randn(12, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = factorize(weight, rank)
    assert a.shape == (12, rank) and b.shape == (rank, 20)
    dropped = np.linalg.svd(weight.numpy(), compute_uv=False)[rank:]
    assert float((weight - a @ b).square().sum()) == pytest.approx((dropped**2).sum(), abs=1e-9)


def test_full_rank_layers_compute_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3, bias=False))
    inputs = torch.randn(5, 8)
    expected = model(inputs)
    torch.testing.assert_close(factorize_(model, {"0.0": 6, "2": 3})(inputs), expected)
    assert [tuple(p.shape) for p in model.parameters()] == [(6, 8), (6, 6), (6,), (3, 6), (3, 3)]


def test_rank_for_is_the_largest_that_fits():
    for density in (0.02, 0.1, 0.5):
        rank = rank_for(300, 784, density)
        assert rank * 1084 <= density * 300 * 784 < (rank + 1) * 1084


def test_bad_ranks_are_refused():
    with pytest.raises(ValueError, match="rank is 5"):
        factorize(torch.ones(4, 9), 5)
    with pytest.raises(ValueError, match="matrix"):
        factorize(torch.ones(4), 1)
    with pytest.raises(ValueError, match="density"):
        rank_for(3, 3, 0.0)
    with pytest.raises(TypeError, match="nn.Linear"):
        low_rank_linear(nn.ReLU(), 1)


def _murmur_finalizer(value: int) -> int:
    value = np.uint32(value)
    with np.errstate(over="ignore"):
        value ^= value >> np.uint32(16)
        value *= np.uint32(0x85EBCA6B)
        value ^= value >> np.uint32(13)
        value *= np.uint32(0xC2B2AE35)
        return int(value ^ (value >> np.uint32(16)))


def test_hash_is_murmurs_finalizer_and_spreads_evenly():
    values = torch.arange(2000)
    assert hash32(values, 3).tolist() == [_murmur_finalizer((v + 3 * 0x9E3779B9) % 2**32) for v in range(2000)]
    counts = torch.bincount(hash32(torch.arange(100_000), 0) % 100, minlength=100).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 160          # chi-squared, 99 degrees of freedom


def test_a_hashed_layer_is_linear_with_shared_weights():
    layer, inputs = HashedLinear(6, 4, buckets=5, seed=2), torch.randn(3, 6)
    torch.testing.assert_close(layer(inputs), inputs @ layer.weight.t() + layer.bias)
    assert layer.weight.detach().abs().unique().numel() <= 5
    weight_gradient = torch.randn(4, 6)
    layer.weight.backward(weight_gradient)
    expected = np.zeros(5)
    for i in range(4):
        for j in range(6):
            expected[int(layer.codes[i, j])] += float(layer.signs[i, j] * weight_gradient[i, j])
    np.testing.assert_allclose(layer.buckets.grad.numpy(), expected, atol=1e-6)


def test_the_state_holds_buckets_and_bias_only_and_the_seed_does_the_rest():
    layer, twin = HashedLinear(10, 7, buckets=6, seed=4), HashedLinear(10, 7, buckets=6, seed=4)
    assert set(layer.state_dict()) == {"buckets", "bias"}
    layer.buckets.data.normal_()
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin.weight, layer.weight)
    assert not torch.equal(HashedLinear(10, 7, buckets=6, seed=5).codes, layer.codes)
    with pytest.raises(ValueError, match="buckets"):
        HashedLinear(3, 3, buckets=0)
