"""Shared-out levels: the stationary point against scipy's minimizer, whole bits against every choice there is."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from qtoolkit.posttraining import allocate_bits, best_levels


def _error(ranges, levels) -> float:
    return float((np.asarray(ranges) ** 2 / (3 * np.asarray(levels, float) ** 2)).sum())


def test_levels_are_where_scipy_finds_the_minimum():
    ranges = np.array([0.3, 1.0, 2.5, 9.0])
    found = minimize(lambda levels: _error(ranges, levels), np.full(4, 16.0), constraints={"type": "eq", "fun": lambda levels: levels.sum() - 64},
                     bounds=[(0.1, 64)] * 4, options={"ftol": 1e-14, "maxiter": 500})
    np.testing.assert_allclose(best_levels(torch.from_numpy(ranges), 64).numpy(), found.x, rtol=1e-3)
    assert best_levels(torch.from_numpy(ranges), 64).sum().item() == pytest.approx(64)


def test_equal_ranges_get_equal_bits_and_eight_times_the_range_two_more():
    assert allocate_bits(torch.full((5,), 0.7), 4).tolist() == [4] * 5
    levels = best_levels(torch.tensor([1.0, 8.0]), 40)
    assert (levels[1] / levels[0]).log2().item() == pytest.approx(2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("bits", [2, 3])
def test_whole_bits_are_nearly_the_best_of_all_within_the_budget(seed, bits):
    ranges = torch.rand(4, generator=torch.Generator().manual_seed(seed)) ** 3 + 0.01
    given = allocate_bits(ranges, bits)
    assert (2.0**given).sum() <= 4 * 2**bits
    best = min(_error(ranges, 2.0 ** np.array(choice)) for choice in itertools.product(range(6), repeat=4) if sum(2**b for b in choice) <= 4 * 2**bits)
    assert best <= _error(ranges, 2.0 ** given.numpy()) * (1 + 1e-6) and _error(ranges, 2.0 ** given.numpy()) < 1.25 * best
    assert _error(ranges, 2.0 ** given.numpy()) <= _error(ranges, [2.0**bits] * 4)


def test_channels_of_a_real_range_spread_lose_less():
    """Ranges over three decades at 4 bits: the error of all channels together falls far below that of 4 bits everywhere."""
    ranges = torch.logspace(-2, 1, 64)
    given = allocate_bits(ranges, 4)
    assert _error(ranges, 2.0 ** given.numpy()) < 0.2 * _error(ranges, [16.0] * 64)
    assert (given.diff() >= 0).all()


def test_a_channel_without_a_range_needs_no_bits_and_no_channel_more_than_sixteen():
    assert allocate_bits(torch.tensor([0.0, 1.0]), 16).tolist() == [0, 16]


def test_what_cannot_be_shared_out_is_named():
    with pytest.raises(ValueError, match="ranges go from 0 to 0"):
        allocate_bits(torch.zeros(3), 4)
    with pytest.raises(ValueError, match="ranges go from -1"):
        best_levels(torch.tensor([-1.0, 1.0]), 4)
    with pytest.raises(ValueError, match="budget is 0"):
        best_levels(torch.ones(2), 0)
    with pytest.raises(ValueError, match="bits is 17"):
        allocate_bits(torch.ones(2), 17)
    with pytest.raises(TypeError, match="int64"):
        allocate_bits(torch.ones(2, dtype=torch.int64), 4)
