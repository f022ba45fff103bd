"""Weight sharing against scipy's Lloyd, a loop for equation 3, autograd, and Han's worked example."""

import doctest
import warnings

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from torch import nn

from qtoolkit.compression import weight_sharing
from qtoolkit.compression.weight_sharing import centroid_gradient, is_shared, share, share_, unshare_
from qtoolkit.quantizers import ForgyInit, density_init, linear_init


def _pruned(seed: int = 0, shape=(30, 40), density: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < density)


def _network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 4))


def test_docstrings_run():
    assert doctest.testmod(weight_sharing).failed == 0


@pytest.mark.parametrize("bits", [2, 4])
def test_shared_values_are_lloyds_fixed_point_as_scipy_finds_it(bits):
    weight = _pruned()
    shared = share(weight, bits)
    kept = weight[weight != 0].numpy().astype(np.float64)[:, None]
    start = np.linspace(kept.min(), kept.max(), 2**bits - 1)[:, None]
    with warnings.catch_warnings(action="ignore"):                 # an empty cluster keeps its place, as in ours
        centroids, labels = kmeans2(kept, start, iter=300, minit="matrix", missing="warn")
    np.testing.assert_allclose(shared.codebook[1:].numpy(), centroids[np.unique(labels), 0], atol=1e-5)
    error = ((kept - centroids[labels]) ** 2).sum()
    assert float((shared.dense() - weight).double().square().sum()) == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("init", [linear_init, density_init, ForgyInit(seed=3)])
def test_pruned_weights_stay_zero_and_every_weight_goes_to_the_nearest_value(init):
    weight = _pruned(1)
    shared = share(weight, 3, init)
    assert torch.equal(shared.codes == 0, weight == 0)
    distance = (weight[..., None] - shared.codebook[1:]).abs()
    expected = (weight - shared.dense()).abs()
    assert (expected[weight != 0] <= distance.min(-1).values[weight != 0] + 1e-7).all()
    assert shared.codebook.numel() <= 8 and shared.codebook[0] == 0


def test_few_values_are_kept_exactly():
    values = torch.tensor([0.1, -2.5, 3e-8, 7.0])
    weight = values[torch.randint(4, (50, 6), generator=torch.Generator().manual_seed(0))]
    assert torch.equal(share(weight, 3).dense(), weight)
    shared = share(share(_pruned(), 4).dense(), 4)
    assert torch.equal(shared.dense(), share(_pruned(), 4).dense())
    assert share(torch.zeros(3, 2), 4).codebook.tolist() == [0.0]
    assert share(torch.full((3,), 2.0), 1).codes.tolist() == [1, 1, 1]


def test_equation_3_is_a_sum_and_equals_autograd():
    shared, gradient = share(_pruned(), 3), torch.randn(30, 40)
    by_hand = np.zeros(shared.codebook.numel())
    for i in range(30):
        for j in range(40):
            by_hand[int(shared.codes[i, j])] += float(gradient[i, j])
    ours = centroid_gradient(gradient, shared.codes, shared.codebook.numel())
    np.testing.assert_allclose(ours.numpy(), by_hand, atol=1e-4)
    codebook = shared.codebook.clone().requires_grad_()
    codebook[shared.codes.long()].backward(gradient)
    torch.testing.assert_close(ours, codebook.grad)
    with pytest.raises(ValueError, match="expected that of codes"):
        centroid_gradient(gradient[:3], shared.codes, 8)


def test_training_a_shared_model_moves_centroids_by_the_summed_gradient():
    model, twin = _network(), _network()
    share_(model, {"3": 3})
    codes, first = model[3].parametrizations.weight[0].codes, model[3].weight.detach().clone()
    with torch.no_grad():
        twin[3].weight.copy_(first)
    inputs, labels = torch.randn(9, 1, 6, 6), torch.randint(4, (9,))
    for network in (model, twin):
        nn.functional.cross_entropy(network(inputs), labels).backward()
    expected = centroid_gradient(twin[3].weight.grad, codes, 8)[1:]
    torch.testing.assert_close(model[3].parametrizations.weight.original.grad, expected)
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    moved = unshare_(model)[3].weight
    torch.testing.assert_close(moved, first - 0.5 * torch.cat([torch.zeros(1), expected])[codes.long()])


def test_sharing_keeps_pruning_and_ends_as_a_plain_model():
    model = _network()
    with torch.no_grad():
        model[3].weight[:, ::2] = 0
    share_(model, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(4, 1, 6, 6)).square().sum().backward()
        optimizer.step()
    assert is_shared(model[3])
    state = unshare_(model).state_dict()
    assert set(state) == set(_network().state_dict()) and not is_shared(model[3])
    assert (model[3].weight[:, ::2] == 0).all()
    assert model[3].weight.detach().unique().numel() <= 16


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="bits"):
        share(torch.ones(3), 13)
    with pytest.raises(ValueError, match="NaN"):
        share(torch.tensor([float("nan")]), 3)
    with pytest.raises(ValueError, match="shared already"):
        share_(share_(_network(), {"3": 2}), 3)
    with pytest.raises(ValueError, match="expected names among"):
        share_(_network(), {"nothing": 3})
