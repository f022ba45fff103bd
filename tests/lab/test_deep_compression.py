"""`qt reproduce deep-compression` in small: the parts, what is left out of a line, and that held-out digits stay out."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from qtoolkit.compression import decompress
from qtoolkit.lab import deep_compression as recipe
from qtoolkit.lab import results
from qtoolkit.lab.data import mnist
from qtoolkit.lab.journal import Journal
from qtoolkit.lab.stages import Stages
from qtoolkit.lab.train import error_percent

TINY = recipe.Line("lenet-300-100", "tiny", 50.0, Stages((0.1, 0.2, 0.5), 4, 1, bits=(3, 3, 4), heard=True), teacher="own")


@pytest.fixture
def few_digits(monkeypatch, tmp_path):
    """The same recipe on 2,000 digits, one dense epoch, and a results folder of its own."""
    parts = mnist("train")[:2000], mnist("train")[2000:2500]
    monkeypatch.setattr(recipe, "training_images", lambda: parts)
    monkeypatch.setattr(recipe, "DENSE", dict.fromkeys(recipe.DENSE, 4))
    monkeypatch.setattr(recipe, "SEEDS", (0, 1))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    recipe.pool.cache_clear()
    yield Journal("small", folder=tmp_path / "unfinished")
    recipe.pool.cache_clear()


def test_the_held_out_digits_are_never_trained_on():
    train, held_out = recipe.split(mnist("train"))
    assert (len(train), len(held_out)) == (55_000, 5_000)
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(recipe.SPLIT_SEED))
    assert not set(order[:5000].tolist()) & set(order[5000:].tolist())
    assert torch.equal(held_out.images, mnist("train").images[order[:5000]])


@pytest.mark.parametrize("line", [TINY, replace(TINY, name="strict", start="plain", images="plain")], ids=str)
def test_a_line_is_made_once_and_read_from_its_files(few_digits, line, monkeypatch):
    runs = [recipe.one_file(few_digits, line, seed) for seed in (0, 1)]
    monkeypatch.setattr(recipe, "compressed", lambda *_: pytest.fail("made twice"))
    measured = recipe._read_test(few_digits, line)
    assert [run["bytes"] for run in measured["runs"]] == [run["bytes"] for run in runs]
    for seed, run in enumerate(measured["runs"]):
        path = few_digits.path(f"{line} {seed}", "qtdc")
        assert run["bytes"] == path.stat().st_size and run["ratio"] == round(4 * 266_610 / run["bytes"], 2)
        assert run["test_error_percent"] == error_percent(decompress(path), mnist("test")) < 30
    assert measured["median_ratio"] == sum(run["ratio"] for run in runs) / 2
    recipe._keep_best(few_digits, line)
    best = min(runs, key=lambda run: run["held_out_percent"])
    assert (results.RESULTS / "lenet-300-100.qtdc").stat().st_size == best["bytes"]


def test_one_ingredient_is_left_out_at_a_time():
    line = recipe.LINES[0]
    for other in recipe.without(line):
        assert other.name != line.name and replace(other, name=line.name) != line
        assert (other.network, other.limit, other.stages.density, other.stages.epochs) == (line.network, line.limit, line.stages.density, line.stages.epochs)
    assert len({str(other) for other in recipe.without(line)}) == len(recipe.without(line))


def test_every_line_names_its_own_files():
    assert len({str(line) for line in recipe.LINES}) == len(recipe.LINES)
    for line in recipe.LINES:
        layers = 3 if line.network == "lenet-300-100" else 4
        assert len(line.stages.density) == len(line.stages.bits) == layers


def test_parts_run_side_by_side_and_their_errors_are_told(tmp_path):
    recipe._side_by_side("files", [partial((tmp_path / name).write_text, name) for name in "abc"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    with pytest.raises(FileNotFoundError):
        recipe._side_by_side("files", [partial((tmp_path / "missing").read_text)])
