"""Units that are dead, cleared, sorted and left out: the function stays the same."""

import copy

import pytest
import torch
from torch import nn

from qtoolkit.compression import prune_
from qtoolkit.compression.units import clear_dead_units_, drop_units_, grown, living_units, shrunk, sort_units_
from qtoolkit.lab.models import lenet_5, lenet_300_100

NETWORKS = {"lenet-300-100": (lenet_300_100, 0.01), "lenet-5": (lenet_5, 0.01)}


@pytest.fixture(params=NETWORKS)
def sparse(request):
    """A network so sparse that it has units which nobody reads and units which read nothing, with biases that matter."""
    make, density = NETWORKS[request.param]
    model = make(seed=3)
    prune_(model, density)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.weight.mul_(4), layer.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    return model


def images(count: int = 32) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def same_function(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(one(images()), other(images()), rtol=1e-4, atol=1e-4)


def test_clearing_dead_units_changes_nothing_but_the_count(sparse):
    before = copy.deepcopy(sparse)
    clear_dead_units_(sparse)
    same_function(sparse, before)
    assert sum(int((p != 0).sum()) for p in sparse.parameters()) < sum(int((p != 0).sum()) for p in before.parameters())


def test_after_clearing_every_unit_reads_and_is_read(sparse):
    layers = [layer for layer in clear_dead_units_(sparse) if isinstance(layer, (nn.Linear, nn.Conv2d))]
    for layer, reader in zip(layers, layers[1:]):
        reads = (layer.weight.flatten(1) != 0).any(1)
        is_read = (reader.weight.reshape(len(reader.weight), len(reads), -1) != 0).any(2).any(0)
        assert torch.equal(reads, is_read)
        assert not layer.bias[~reads].any()


def test_a_constant_unit_moves_into_the_biases_of_its_readers():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]])), model[0].bias.copy_(torch.tensor([3.0, -1.0]))
        model[2].weight.copy_(torch.tensor([[2.0, 5.0]])), model[2].bias.copy_(torch.tensor([0.5]))
    clear_dead_units_(model)
    assert model[2].bias.item() == 0.5 + 2 * 3 and model[2].weight.tolist() == [[0.0, 5.0]] and model[0].bias.tolist() == [0.0, -1.0]


def test_sorting_puts_the_fullest_units_first(sparse):
    before = copy.deepcopy(sparse)
    sort_units_(sparse)
    same_function(sparse, before)
    for layer in [layer for layer in sparse if isinstance(layer, (nn.Linear, nn.Conv2d))][:-1]:
        counts = (layer.weight.flatten(1) != 0).sum(1)
        assert (counts.diff() <= 0).all()


def test_a_shrunk_network_is_smaller_equal_and_grows_back(sparse):
    sort_units_(clear_dead_units_(sparse))
    small = shrunk(sparse)
    same_function(small, sparse)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in sparse.parameters()) / 2
    back = grown(small, sparse)
    assert all(torch.equal(a, b) for a, b in zip(back.state_dict().values(), sparse.state_dict().values()))


def test_dropped_units_are_those_that_the_readers_hear_least():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])), model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[0.1, 3.0, 1.0]]))
    drop_units_(model, {"0": 2}, torch.tensor([[10.0, 0.01], [10.0, 0.01]]))  # 0.1 * 10 > 3 * 0.01
    assert living_units(model)["0"].tolist() == [True, False, True]


@pytest.mark.parametrize("model, error", [
    (nn.Linear(2, 2), TypeError),
    (nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2)), ValueError),
    (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3)), ValueError),
    (nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2)), ValueError),
])
def test_what_cannot_be_followed_is_refused(model, error):
    with pytest.raises(error, match="units"):
        clear_dead_units_(model)
