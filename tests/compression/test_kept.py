"""The places of the kept weights, found piece by piece, against a mask and a full sort; the codes that go with them."""

import doctest

import numpy as np
import pytest
import torch

from qtoolkit.compression import kept
from qtoolkit.compression.kept import SharedKept, kept_places
from qtoolkit.compression.pruning import keep_largest
from qtoolkit.compression.weight_sharing import share, share_kept

SIZES = (1, 2, 7, 1000, kept.PART, kept.PART + 1, 600_000)


def _weights(size: int, kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    weight = torch.randn(size, generator=generator)
    match kind:
        case "pruned": weight[torch.rand(size, generator=generator) < 0.9] = 0
        case "few values": weight = torch.randint(-3, 4, (size,), generator=generator).float()
        case "sorted": weight = weight.sort().values
        case "skewed": weight = torch.rand(size, generator=generator) ** 20 * torch.arange(size)
        case "every ninth": weight[::9] *= 1000                     # what a regular sample takes for everything
        case "equal": weight = torch.full((size,), -2.0)
    return weight


def test_docstrings_run():
    assert doctest.testmod(kept).failed == 0


@pytest.mark.parametrize("kind", ["normal", "pruned", "few values", "sorted", "skewed", "every ninth", "equal"])
def test_places_are_those_of_a_stable_sort_without_zeros(kind):
    for size in SIZES:
        weight = _weights(size, kind)
        order = np.argsort(-weight.abs().numpy(), kind="stable")
        for density in (0.0, 0.04, 0.333, 0.5, 0.9, 1.0):
            best = np.sort(order[: round(density * size)])
            np.testing.assert_array_equal(kept_places(weight, density), best[weight.numpy()[best] != 0], err_msg=f"{size} {density}")
        np.testing.assert_array_equal(kept_places(weight), torch.nonzero(weight).flatten())


def test_a_sample_that_deceives_costs_time_not_truth(monkeypatch):
    weight = _weights(5000, "normal")
    expected = torch.nonzero(keep_largest(weight.abs(), 0.1)).flatten().tolist()
    for low, high in ((0.0, 0.1), (3.0, 5.0), (9.0, 9.0), (-1.0, np.inf), (0.5, 0.5)):
        monkeypatch.setattr(kept, "_bracket", lambda *_, low=low, high=high: (low, high))
        assert kept_places(weight, 0.1).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_are_ranked_as_they_are(dtype):
    weight = (1 + 1e-9 * torch.arange(300, dtype=torch.float64)).to(dtype)          # in float32 all of these are equal
    order = np.argsort(-weight.double().numpy(), kind="stable")
    assert kept_places(weight, 0.1).tolist() == sorted(order[:30].tolist())


def test_what_is_not_a_weight_is_refused():
    for bad, error, message in ((torch.empty(0), ValueError, "empty"), (torch.ones(3, dtype=torch.int8), TypeError, "floating-point"),
                                (torch.tensor([1.0, float("nan")]), ValueError, "NaN"), (torch.tensor([1.0, -float("inf")]), ValueError, "infinity")):
        for density in (None, 0.5):
            with pytest.raises(error, match=message):
                kept_places(bad, density)
    for density in (-0.1, 1.5, "half", float("nan")):
        with pytest.raises((TypeError, ValueError), match="density"):
            kept_places(torch.ones(3), density)
    far = torch.zeros(kept.PART + 5)
    far[-1] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        kept_places(far)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_sharing_the_kept_is_sharing_the_layer(bits):
    weight = _weights(600_000, "pruned").reshape(600, 1000)
    whole, shared = share(weight, bits), share_kept(weight, kept_places(weight), bits)
    assert torch.equal(shared.all_codes(), whole.codes) and torch.equal(shared.codebook, whole.codebook)
    assert int(shared.codes.min()) == 1 and shared.codes.unique().numel() == shared.codebook.numel() - 1


def test_equal_values_share_a_code_and_zeros_leave():
    layer = SharedKept((2, 3), torch.tensor([0, 1, 3, 5]), torch.tensor([1, 2, 3, 2], dtype=torch.int16), torch.tensor([0.0, -2.0, 1.0, 4.0]))
    again = layer.revalued(torch.tensor([0.0, 0.0, 5.0, 5.0]))
    assert again.all_codes().tolist() == [[0, 1, 0], [1, 0, 1]] and again.codebook.tolist() == [0.0, 5.0]
    below = layer.revalued(torch.tensor([0.0, -1.0, 0.0, 5.0]))
    assert below.all_codes().tolist() == [[1, 0, 0], [2, 0, 0]] and below.codebook.tolist() == [0.0, -1.0, 5.0]
    assert layer.revalued(layer.codebook).all_codes().tolist() == layer.all_codes().tolist() == [[1, 2, 0], [3, 0, 2]]
