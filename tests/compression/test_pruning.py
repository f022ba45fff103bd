"""Pruning against numpy sorting, torch's own prune utilities and the definition of each schedule."""

import doctest
import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn
from torch.nn.utils import prune as torch_prune

from qtoolkit.compression import pruning, share_
from qtoolkit.compression.pruning import (GradualPruning, Masks, activation_scores, cubic_density, global_masks,
                                          iterative_densities, keep_largest, keep_tiles, layer_masks, magnitude, prune_,
                                          prune_tiles, sensitivity_scan, std_masks)

OPTIMIZERS = sorted(name for name, kind in vars(torch.optim).items()
                    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer)


def _network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 10), nn.ReLU(), nn.Linear(10, 4))


def test_docstrings_run():
    torch.manual_seed(0)
    assert doctest.testmod(pruning).failed == 0


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.floats(0, 1))
def test_keep_largest_is_a_stable_sort(values, density):
    scores = torch.tensor(values, dtype=torch.float32).abs()
    order = np.argsort(-scores.numpy(), kind="stable")[: round(density * len(values))]
    expected = np.zeros(len(values), bool)
    expected[order] = True
    assert keep_largest(scores, density).tolist() == expected.tolist()


@given(n=st.integers(1, 40), k=st.integers(1, 14), density=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_tiles_of_greatest_norm_are_kept_whole(n, k, density, seed):
    weight = np.random.default_rng(seed).integers(-2, 3, (n, k))
    corners = [(i, j) for i in range(0, n, 16) for j in range(0, k, 4)]
    norms = [np.linalg.norm(weight[i : i + 16, j : j + 4]) for i, j in corners]
    expected = np.zeros((n, k), dtype=bool)
    for at in np.argsort(-np.round(norms, 9), kind="stable")[: round(density * len(corners))]:
        i, j = corners[at]
        expected[i : i + 16, j : j + 4] = True
    codes = torch.from_numpy(weight).to(torch.int8)
    assert np.array_equal(keep_tiles(codes.float(), density).numpy(), expected)
    for given in (codes, codes.double()):
        assert torch.equal(prune_tiles(given, density), given * torch.from_numpy(expected)) and prune_tiles(given, density).dtype == given.dtype


def test_layer_masks_of_tiles_hold_through_training():
    model = nn.Sequential(nn.Linear(40, 32), nn.Linear(32, 16))
    masks = Masks(model, layer_masks(magnitude(model), 0.25, keep_tiles))
    assert masks.densities() == {"0": 0.25, "1": 0.25}
    tiles = model[0].weight.detach().unflatten(0, (2, 16)).unflatten(2, (10, 4)).ne(0).sum((1, 3))
    assert sorted(tiles.flatten().tolist()) == [0] * 15 + [64] * 5
    with pytest.raises(ValueError, match="matrix"):
        keep_tiles(torch.ones(2, 3, 4), 0.5)


def test_as_many_are_kept_of_scores_in_double_precision():
    for seed in range(20):
        scores = torch.rand(99, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        kept = keep_largest(scores, 1 / 3)
        assert kept.sum() == 33 and scores[kept].min() > scores[~kept].max()


def test_scores_of_parameters_need_no_detaching():
    weight = nn.Linear(4, 3).weight
    assert torch.equal(keep_largest(weight.abs(), 0.5), keep_largest(weight.detach().abs(), 0.5))


def test_global_masks_agree_with_torch_prune():
    ours, theirs = _network(), _network()
    masks = global_masks(magnitude(ours), density=0.3)
    parameters = [(theirs[i], "weight") for i in (0, 3, 5)]
    total = sum(layer.weight.numel() for layer, _ in parameters)
    torch_prune.global_unstructured(parameters, torch_prune.L1Unstructured, amount=total - round(0.3 * total))
    for index, (layer, _) in zip("035", parameters):
        assert torch.equal(masks[index], layer.weight_mask.bool())


def test_layer_masks_take_a_density_for_each_layer():
    model = _network()
    masks = prune_(model, {"0": 1.0, "3": 0.25, "5": 0.5})
    assert masks.densities() == {"0": 1.0, "3": 0.25, "5": 0.5}
    assert int((model[3].weight != 0).sum()) == 120
    with pytest.raises(ValueError, match="expected one for each of"):
        prune_(_network(), {"0": 0.5})


def test_std_masks_keep_what_exceeds_quality_times_std():
    model = _network()
    weight = model[3].weight.detach().numpy().astype(np.float64)
    assert std_masks(model, 1.2)["3"].numpy().tolist() == (np.abs(weight) > 1.2 * weight.std()).tolist()
    pruned = prune_(model, 0.1)
    assert all(torch.equal(mask, pruned.masks[name]) for name, mask in std_masks(model, 0.0).items())
    with pytest.raises(ValueError, match="quality"):
        std_masks(model, float("nan"))


def test_activation_scores_rank_by_contribution():
    torch.manual_seed(0)
    layer, inputs = nn.Linear(5, 3), torch.randn(64, 5) * torch.tensor([0.0, 1, 2, 3, 4])
    score = activation_scores(nn.Sequential(layer), inputs)["0"]
    expected = layer.weight.detach().abs() * inputs.square().mean(0).sqrt()
    torch.testing.assert_close(score, expected / expected.square().mean().sqrt())
    assert (score[:, 0] == 0).all()
    conv = nn.Conv2d(2, 4, 3)
    images = torch.randn(8, 2, 6, 6)
    rms = torch.stack([images[:, c].square().mean().sqrt() for c in range(2)])
    expected = conv.weight.detach().abs() * rms[None, :, None, None]
    torch.testing.assert_close(activation_scores(nn.Sequential(conv), images)["0"], expected / expected.square().mean().sqrt())


def _train(model, optimizer, steps: int) -> None:
    inputs, labels = torch.randn(16, 1, 6, 6), torch.randint(4, (16,))
    for _ in range(steps):
        def closure():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            return loss
        optimizer.step(closure)


def _optimizer(name: str, model: nn.Module) -> torch.optim.Optimizer:
    kind, extra = getattr(torch.optim, name), {"lr": 0.05}
    accepted = inspect.signature(kind).parameters
    extra |= {"momentum": 0.9} if "momentum" in accepted else {}
    extra |= {"weight_decay": 0.1} if "weight_decay" in accepted else {}
    parameters = [p for p in model.parameters() if p.dim() == 2] if name == "Muon" else model.parameters()
    return kind(parameters, **extra)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "SparseAdam"])
def test_pruned_weights_stay_exactly_zero_under_every_optimizer(name):
    model = _network()
    optimizer = _optimizer(name, model)
    _train(model, optimizer, 3)                       # momentum gathers before the mask comes
    masks = prune_(model, 0.3)
    masks.hold(optimizer)
    before = [layer.weight.detach().clone() for layer in (model[3], model[5])]
    _train(model, optimizer, 5)
    for layer, old, key in zip((model[3], model[5]), before, "35"):
        assert (layer.weight[~masks.masks[key]] == 0).all()
        assert not torch.equal(layer.weight[masks.masks[key]], old[masks.masks[key]])


def test_masking_gradients_only_would_not_be_enough():
    """The trap that `Masks.hold` avoids, kept here so that the test above is known to be able to fail."""
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    _train(model, optimizer, 3)
    masks = prune_(model, 0.3)
    model[3].weight.register_hook(lambda gradient: gradient * masks.masks["3"])
    _train(model, optimizer, 1)
    assert (model[3].weight[~masks.masks["3"]] != 0).any()


def test_masks_let_go_when_asked_and_refuse_computed_weights():
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    masks = prune_(model, 0.5)
    masks.hold(optimizer).remove()
    _train(model, optimizer, 2)
    assert (model[3].weight[~masks.masks["3"]] != 0).any()
    with pytest.raises(ValueError, match="unshare_ first"):
        prune_(share_(model, 3), 0.5)


def test_masks_select_and_do_not_multiply():
    model = nn.Sequential(nn.Linear(3, 1))
    masks = Masks(model, {"0": torch.tensor([[True, False, False]])})
    model[0].weight.data[0, 1:] = torch.tensor([float("nan"), float("inf")])
    masks.apply_()
    assert model[0].weight[0, 1:].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="expected torch.bool"):
        masks.update({"0": torch.ones(1, 3)})
    with pytest.raises(ValueError, match="expected one of the layers"):
        masks.update({"9": torch.ones(1, 3, dtype=torch.bool)})


def test_cubic_schedule_is_zhu_and_gupta():
    for step in range(-5, 120, 7):
        t = min(max((step - 10) / 80, 0), 1)
        sparsity = 0.95 + (0.2 - 0.95) * (1 - t) ** 3
        assert cubic_density(step, 10, 90, final=0.05, initial=0.8) == pytest.approx(1 - sparsity)
    with pytest.raises(ValueError, match="start < stop"):
        cubic_density(0, 5, 5, 0.1)


def test_iterative_densities_keep_an_equal_fraction_and_end_exactly():
    densities = iterative_densities(0.08, 5)
    assert densities[-1] == 0.08
    ratios = np.diff(np.log([1.0, *densities]))
    assert np.allclose(ratios, ratios[0])


@pytest.mark.parametrize("every, stop", [(50, 101), (50, 30), (7, 49)])
def test_gradual_pruning_always_reaches_its_density(every, stop):
    model = _network()
    final = {"0": 0.5, "3": 0.1, "5": 0.2}
    pruning_run = GradualPruning(model, final, stop=stop, every=every)
    for _ in range(stop + 10):
        pruning_run.step()
    assert pruning_run.masks.densities() == pytest.approx({"0": 14 / 27, "3": 0.1, "5": 0.2}, abs=0.02)
    assert int((model[3].weight != 0).sum()) == 48


def test_sensitivity_scan_restores_the_model():
    model = _network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scan = sensitivity_scan(model, lambda m: float((m[3].weight != 0).float().mean()), densities=(0.5, 0.25))
    assert scan == {"0": [(0.5, 1.0), (0.25, 1.0)], "3": [(0.5, 0.5), (0.25, 0.25)], "5": [(0.5, 1.0), (0.25, 1.0)]}
    with pytest.raises(ZeroDivisionError):
        sensitivity_scan(model, lambda m: 1 / 0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("density", [-0.1, 1.5, float("nan")])
def test_density_outside_zero_to_one_is_refused(density):
    with pytest.raises(ValueError, match="density"):
        keep_largest(torch.rand(4), density)


def test_bad_inputs_are_refused():
    with pytest.raises(TypeError, match="density"):
        keep_largest(torch.rand(4), "half")
    with pytest.raises(ValueError, match="NaN"):
        keep_largest(torch.tensor([1.0, float("nan")]), 0.5)
    with pytest.raises(ValueError, match="empty"):
        keep_largest(torch.empty(0), 0.5)
    with pytest.raises(ValueError, match="no Linear or Conv"):
        magnitude(nn.ReLU())
    with pytest.raises(ValueError, match="at least 1|1 or more"):
        iterative_densities(0.1, 0)
    assert layer_masks({"a": torch.rand(2, 3).t()}, 0.5)["a"].shape == (3, 2)
