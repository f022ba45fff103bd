"""Weights on a learned grid: no kept weight becomes 0, the step's gradient is the derivative, and the file stores one number."""

import pytest
import torch
from torch import nn

from qtoolkit.compression import ContextRecipe, Recipe, compress, decompress, prune_
from qtoolkit.compression.learned_grid import Grid, fit_step, grid_, grid_codes, ungrid_


def test_codes_by_hand():
    w = torch.tensor([0.0, 0.2, -0.2, 0.26, -0.74, 0.76, 5.0])
    assert grid_codes(w, 0.5, levels=3).tolist() == [0.0, 1.0, -1.0, 1.0, -1.0, 2.0, 3.0]


@pytest.mark.parametrize("levels", [1, 2, 3, 7])
def test_the_fitted_step_is_the_best_of_a_fine_search(levels):
    weight = torch.randn(400, generator=torch.Generator().manual_seed(levels))
    weight[weight.abs() < 0.3] = 0
    kept = weight[weight != 0]

    def loss(step: float) -> float:
        nearest = torch.stack([(kept.abs() - step * level).square() for level in range(1, levels + 1)]).min(0).values
        return nearest.sum().item()

    best = min(loss(step / 1000) for step in range(50, 4000, 5))
    assert loss(fit_step(weight, levels)) <= best * 1.001


def test_gradients_are_those_of_the_equation():
    """Inside: d(step * q) / dw = 1 straight through, d / dstep = q - w / step; outside, the level itself; pruned, nothing."""
    weight = torch.tensor([0.0, 0.9, -2.2, 30.0], dtype=torch.float64)
    grid = Grid(weight, levels=3).double()
    with torch.no_grad():
        grid.step.fill_(1.0)
    w = weight.clone().requires_grad_()
    (grid(w) * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert w.grad.tolist() == [0, 10, 100, 0]
    expected = 10 * (1 - 0.9) + 100 * (-2 + 2.2) + 1000 * 3
    assert grid.step.grad.item() == pytest.approx(expected / (3 * 3) ** 0.5)


def test_training_on_the_grid_keeps_the_mask_and_stays_on_the_grid():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3))
    prune_(model, 0.3)
    masks = [layer.weight != 0 for layer in (model[0], model[2])]
    grid_(model, {"0": 2, "2": 3})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = torch.randn(64, 20), torch.randint(3, (64,))
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward(), optimizer.step(), losses.append(loss.item())
    steps = [layer.parametrizations.weight[0].step.item() for layer in (model[0], model[2])]
    ungrid_(model)
    for layer, mask, step, levels in zip((model[0], model[2]), masks, steps, (2, 3)):
        assert torch.equal(layer.weight != 0, mask)
        codes = layer.weight / step
        torch.testing.assert_close(codes, codes.round())
        assert codes.abs().max().round() <= levels
    assert losses[-1] < 0.75 * losses[0]


def test_a_grid_is_stored_as_one_step(tmp_path):
    model = nn.Sequential(nn.Linear(64, 32))
    nn.init.normal_(model[0].weight, generator=torch.Generator().manual_seed(0))
    prune_(model, 0.6)
    ungrid_(grid_(model, 3))
    report = compress(model, tmp_path / "a.qtdc", Recipe(ContextRecipe(None, 4)))
    assert torch.equal(decompress(tmp_path / "a.qtdc")[0].weight, model[0].weight)
    assert report.layers[0].codebook == 6
    assert len(model[0].weight[model[0].weight != 0].unique()) == 6


def test_a_layer_without_weights_is_left_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    nn.init.zeros_(model[0].weight)
    x = torch.randn(3, 2)
    assert grid_(model, 1)(x).shape == (3, 2) and not ungrid_(model)[0].weight.any()
    with pytest.raises(ValueError, match="nonzero"):
        fit_step(torch.zeros(3), 1)
    with pytest.raises(ValueError, match="names among"):
        grid_(model, {"7": 1})
