"""The networks, the loop that trains them, and what happens when it is interrupted."""

import json
import math

import pytest
import torch
from torch import nn

from qtoolkit.lab import models, train
from qtoolkit.lab.data import Digits


def _parameters(model) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_networks_have_the_papers_sizes():
    assert _parameters(models.lenet_300_100()) == 266_610 and _parameters(models.lenet_5()) == 431_080
    caffe = [tuple(p.shape) for p in models.lenet_5().parameters() if p.dim() > 1]
    assert caffe == [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
    for make in models.NETWORKS.values():
        assert make()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_a_seed_fixes_the_weights_and_leaves_torch_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = models.lenet_5(seed=1), models.lenet_5(seed=1), models.lenet_5(seed=2)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one[0].weight, same[0].weight) and not torch.equal(one[0].weight, other[0].weight)


def _blobs(n: int = 512, seed: int = 0):
    """Two classes that a line separates with a margin."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    return torch.randn(n, 4, generator=chance) + 6 * labels[:, None], labels


def test_training_learns_and_repeats_itself_exactly():
    x, y = _blobs()
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        losses = train.fit(model, x, y, epochs=4, seed=3, lr=0.05, batch_size=32, dropout=(0.1, 0.1))
        runs.append((losses, model.weight.detach().clone()))
    assert runs[0][0] == runs[1][0] and torch.equal(runs[0][1], runs[1][1])
    assert runs[0][0][-1] < 0.2 and not model.training
    assert (model(x).argmax(1) == y).float().mean() > 0.98


def test_training_is_adam_with_one_cycle_step_by_step():
    """Against torch's own optimizer driven by hand, with the learning rate written out."""
    x, y = _blobs(64)
    ours, theirs = nn.Linear(4, 2), nn.Linear(4, 2)
    theirs.load_state_dict(ours.state_dict())
    train.fit(ours, x, y, epochs=5, seed=7, lr=0.01, batch_size=16)
    chance, adam, step = torch.Generator().manual_seed(7), torch.optim.Adam(theirs.parameters()), 0
    for _ in range(5):
        order = torch.randperm(64, generator=chance)
        for rows in order.split(16):
            rate = 0.01 * ((step + 1) / 2 if step < 2 else 0.5 * (1 + math.cos(math.pi * (step - 2) / 18)))
            adam.param_groups[0]["lr"], step = rate, step + 1
            adam.zero_grad()
            nn.functional.cross_entropy(theirs(x[rows]), y[rows]).backward()
            adam.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-6, atol=1e-7)


def test_dropout_scales_what_it_keeps_and_is_gone_after_training():
    x = torch.ones(2000, 50)
    kept = train._drop(x, 0.2, torch.Generator().manual_seed(0))
    assert set(kept.unique().tolist()) == {0.0, 1.25} and abs(kept.mean().item() - 1) < 0.01
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    seen = []
    data, labels = _blobs(16)
    model[2].register_forward_hook(lambda _, args, __: seen.append((args[0] == 0).float().mean().item()))
    train.fit(model, data, labels, epochs=1, dropout=(0.0, 0.9))
    assert seen[0] > 0.7, "the second layer's inputs were dropped"
    assert not model[0]._forward_pre_hooks and not model[2]._forward_pre_hooks


class _Interrupting(nn.Linear):
    """Presses Ctrl-C in its `when`-th forward pass."""

    when = 0

    def forward(self, x):
        self.when -= 1
        if self.when == 0:
            raise KeyboardInterrupt
        return super().forward(x)


@pytest.mark.parametrize("finished", [0, 2])
def test_an_interruption_leaves_the_last_finished_epoch(finished, capsys):
    x, y = _blobs(64)  # four batches of 16 an epoch
    interrupted, start = _Interrupting(4, 2), nn.Linear(4, 2)
    start.load_state_dict(interrupted.state_dict())
    interrupted.when = 4 * finished + 3
    losses = train.fit(interrupted, x, y, epochs=5, batch_size=16)
    assert len(losses) == finished and not interrupted.training
    assert f"after epoch {finished} of 5" in capsys.readouterr().err
    states = []  # an uninterrupted twin, watched at the end of each epoch
    twin = nn.Linear(4, 2)
    twin.load_state_dict(start.state_dict())
    batches = []
    twin.register_forward_pre_hook(lambda module, _: (len(batches) % 4 == 0 and states.append(module.weight.detach().clone()), batches.append(1)) and None)
    train.fit(twin, x, y, epochs=5, batch_size=16)
    assert torch.equal(interrupted.weight, states[finished])


@pytest.mark.parametrize("change, message", [
    ({"inputs": torch.zeros(8, 4, dtype=torch.uint8)}, "torch.uint8, expected finite floats"),
    ({"inputs": torch.full((8, 4), math.nan)}, "finite"),
    ({"inputs": torch.full((8, 4), math.inf)}, "finite"),
    ({"labels": torch.zeros(8)}, "expected int64"),
    ({"labels": torch.zeros(7, dtype=torch.int64)}, r"\(7,\), expected int64 \(8,\)"),
    ({"inputs": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}, "at least one"),
    ({"epochs": 0}, "epochs=0"), ({"batch_size": 0}, "batch_size=0"), ({"lr": -1.0}, "lr=-1.0"), ({"lr": math.nan}, "lr=nan"),
    ({"dropout": (0.5, 1.0)}, "probabilities"),
])
def test_what_cannot_be_trained_on_is_refused(change, message):
    given = {"inputs": torch.zeros(8, 4), "labels": torch.zeros(8, dtype=torch.int64), "epochs": 1} | change
    inputs, labels = given.pop("inputs"), given.pop("labels")
    with pytest.raises(ValueError, match=message):
        train.fit(nn.Linear(4, 2), inputs, labels, **given)


def test_a_loss_that_explodes_is_an_error():
    x, y = _blobs(64)
    with pytest.raises(ArithmeticError, match="smaller learning rate"):
        train.fit(nn.Linear(4, 2), x * 1e30, y, epochs=3, lr=1e30)


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_the_error_is_a_percentage_of_wrong_answers_and_leaves_the_mode(batch_size):
    class Constant(nn.Module):
        def forward(self, x):
            assert not self.training
            return torch.eye(10)[torch.full((len(x),), 7)]

    digits = Digits(torch.zeros(8, 28, 28, dtype=torch.uint8), torch.tensor([7, 7, 1, 7, 7, 7, 7, 2]))
    model = Constant().train()
    assert train.error_percent(model, digits, batch_size) == 25.0 and model.training
    with pytest.raises(ValueError, match="empty"):
        train.error_percent(model, digits[:0])


def test_weights_are_verified_when_they_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    monkeypatch.setattr(models, "HASHES", tmp_path / "sha256.json")
    saved = models.lenet_300_100(seed=4)
    path = models.save_trained("lenet-300-100", saved, tmp_path)
    loaded = models.trained("lenet-300-100")
    assert torch.equal(loaded[1].weight, saved[1].weight) and not loaded.training
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lenet-300-100.safetensors", "sha256.json"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match="altered.*qt reproduce lenets"):
        models.trained("lenet-300-100")
    path.unlink()
    with pytest.raises(RuntimeError, match="missing"):
        models.trained("lenet-300-100")
    with pytest.raises(ValueError, match="no trained network 'vgg', expected one of: lenet-300-100, lenet-5"):
        models.trained("vgg")


def test_the_shipped_weights_reach_the_recorded_error():
    """The file in the package, evaluated again on all 10,000 test digits, gives the number in the results file."""
    from qtoolkit.lab import mnist, results

    digits = mnist("test")
    if len(digits) != 10_000:
        pytest.skip("MNIST could not be had")
    recorded = results.load("lenets")
    for name in models.NETWORKS:
        assert abs(train.error_percent(models.trained(name), digits) - recorded[name]["test_error_percent"]) <= 0.02
        assert recorded[name]["train_images"] == 60_000


def test_shipped_weights_are_small_and_all_noted():
    noted = json.loads(models.HASHES.read_text())
    files = sorted(models.WEIGHTS.glob("*.safetensors"))
    assert [file.name for file in files] == sorted(noted)
    assert all(file.stat().st_size < 2_000_000 for file in files)
