"""What `qt bench --files` measures is what it says: the network's shapes, and a row for each direction. No times are judged."""

import torch
from typer.testing import CliRunner

from qtoolkit import cli
from qtoolkit.compression import speed
from qtoolkit.compression.pipeline import inspect, paper_recipe


def test_the_model_has_vgg16s_shapes():
    with torch.device("meta"):
        model = speed.vgg16()
    assert sum(p.numel() for p in model.parameters()) == 138_357_544
    assert model(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)
    assert len(paper_recipe("vgg-16", model).layers) == 16


def test_a_row_for_writing_and_one_for_reading(tmp_path):
    written, read = (speed.measure(tmp_path / "layer", f"100000 {verb}") for verb in ("write", "read"))
    assert written.split()[:2] == ["100000", "write"] and read.split()[:2] == ["100000", "read"]
    assert inspect(tmp_path / "layer").layers[0].weights == 100_000
    nanoseconds, seconds = float(read.split()[4]), float(read.split()[2])
    assert abs(seconds * 1e4 - nanoseconds) < 6 + 0.1 * nanoseconds                       # 1e5 weights


def test_the_command_leads_there(monkeypatch):
    monkeypatch.setattr(speed, "main", lambda: print("files measured"))
    assert "files measured" in CliRunner().invoke(cli.app, ["bench", "--files"]).output
