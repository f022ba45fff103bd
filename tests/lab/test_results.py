"""Recorded results say how they were made, are written in one step, and are never NaN."""

import json
import math
import os

import pytest
import torch

from qtoolkit.lab import reproduce, results


def test_a_result_comes_back_with_its_provenance(tmp_path):
    results.record("some-run", {"error": 1.5, "sizes": [1, 2]}, seed=3, folder=tmp_path)
    loaded = results.load("some-run", folder=tmp_path)
    assert (loaded["error"], loaded["sizes"]) == (1.5, [1, 2])
    made = loaded["provenance"]
    assert made["seed"] == 3 and made["torch"] == torch.__version__ and made["cpu"]
    assert set(made) == {"seed", "qtoolkit", "torch", "numpy", "python", "cpu", "machine", "threads", "date"}


@pytest.mark.parametrize("data", [
    {"error": math.nan}, {"error": math.inf}, {"deep": {"er": [1.0, -math.inf]}}, {"tensor": torch.zeros(2)}, {"provenance": 1}, [1],
])
def test_what_is_no_result_is_refused_and_the_old_file_stays(tmp_path, data):
    results.record("run", {"error": 1.0}, folder=tmp_path)
    with pytest.raises(ValueError):
        results.record("run", data, folder=tmp_path)
    assert results.load("run", folder=tmp_path)["error"] == 1.0
    assert os.listdir(tmp_path) == ["run.json"]


@pytest.mark.parametrize("name", ["", "../run", "Run", "a b", "-x", "a.json"])
def test_names_are_plain(tmp_path, name):
    with pytest.raises(ValueError, match="name"):
        results.record(name, {}, folder=tmp_path)


def test_an_unknown_result_names_the_known_ones_and_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"recorded: none yet.*qt reproduce run"):
        results.load("run", folder=tmp_path)
    results.record("other", {}, folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="recorded: other"):
        results.load("run", folder=tmp_path)


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        results.replace_file(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_every_committed_result_has_provenance_and_real_numbers():
    for path in sorted(results.RESULTS.glob("*.json")):
        data = json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(f"{path.name} holds {constant}"))
        assert {"seed", "torch", "cpu", "date"} <= set(data["provenance"]), path.name


def test_only_known_names_are_reproduced(monkeypatch):
    called = []
    monkeypatch.setitem(reproduce.RECIPES, "fake", lambda: called.append(1) or results.RESULTS / "fake.json")
    assert reproduce.reproduce("fake").name == "fake.json" and called == [1]
    with pytest.raises(ValueError, match="no recipe for 'alexnet'; there are: lenets"):
        reproduce.reproduce("alexnet")


def test_the_recorded_recipe_is_the_one_in_the_code():
    recorded = results.load("lenets")
    for name, recipe in reproduce.LENETS.items():
        assert {key: recorded[name]["recipe"][key] for key in recipe} == json.loads(json.dumps(recipe))


def test_int8_speed_times_ours_and_the_peers_in_turn(tmp_path, monkeypatch):
    """What is recorded, not how fast it is: every contender at every batch, and errors beside the times."""
    from qtoolkit import kernels

    if not kernels.info()["native"]:
        with pytest.raises(RuntimeError, match="fallback"):
            reproduce.int8_speed()
        pytest.skip("the kernels are not native here")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    data = json.loads(reproduce.int8_speed(seconds=0.01).read_text())
    assert {(row["batch"], row["threads"]) for row in data["rows"]} >= {(1, 1), (64, 1)}
    for row in data["rows"]:
        assert {"torch float32", "int8 dynamic", "int8 static"} <= set(row["min_us"]) and row["runs"] >= 5
        assert all(row["min_us"][name] <= row["median_us"][name] for name in row["min_us"])
        assert row["speedup_over_torch_float32"]["torch float32"] == 1
    float_error = data["test_error_percent"]["torch float32"]
    assert all(abs(error - float_error) < 0.3 for error in data["test_error_percent"].values())
