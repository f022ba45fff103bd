"""The texts of the commands: JSON with the promised keys, the paper's table, and the authors' file translated."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from qtoolkit import cli as commands
from qtoolkit.compression import cli, container
from qtoolkit.compression.pipeline import decompress

from test_songhan import _file, _model


def _lenet() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def test_compress_inspect_and_evaluate_tell_one_story(tmp_path):
    path = tmp_path / "net.qtdc"
    made = json.loads(cli.run_compress(_lenet(), path, "lenet-300-100", as_json=True))
    seen = json.loads(cli.run_inspect(path, as_json=True))
    assert made == seen and {"ratio", "bytes", "dense_bytes", "error_percent", "layers"} <= set(seen)
    assert seen["bytes"] == path.stat().st_size and seen["ratio"] == seen["dense_bytes"] / seen["bytes"]
    images = torch.rand(50, 1, 28, 28)
    labels = decompress(path)(images).argmax(1)
    assert json.loads(cli.run_evaluate(path, images, labels, as_json=True))["error_percent"] == 0.0
    assert cli.run_evaluate(path, images, (labels + 1) % 10).endswith("error 100.00 %")
    assert f"{seen['ratio']:.2f}x" in cli.run_inspect(path)


def test_a_model_without_a_recipe_is_stored_as_it_is(tmp_path):
    layers = json.loads(cli.run_compress(_lenet(), tmp_path / "net", as_json=True))["layers"]
    assert [layer["kept_percent"] for layer in layers] == [100.0, 100.0, 100.0]


def test_the_authors_file_is_translated(tmp_path):
    (tmp_path / "theirs").write_bytes(_file()[0])
    report = json.loads(cli.run_import_songhan(tmp_path / "theirs", tmp_path / "ours", _model(), as_json=True))
    assert report["bytes"] == (tmp_path / "ours").stat().st_size
    assert [layer["index_bits"] for layer in report["layers"]] == [4, 4]


def _refused(*arguments) -> str:
    run = CliRunner().invoke(commands.app, [str(a) for a in arguments])
    assert run.exit_code == 1 and isinstance(run.exception, SystemExit), run.exception
    return run.output


def test_a_stranger_is_told_what_was_given_expected_and_what_to_do(tmp_path):
    (tmp_path / "text").write_text("hello")
    cli.run_compress(_lenet(), tmp_path / "net")
    whole = (tmp_path / "net").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:500])
    (tmp_path / "future").write_bytes(whole[:4] + b"\x09" + whole[5:])
    for name, message in (("text", "not a compressed network"), ("cut", "cut short"), ("future", "format version 9"),
                          ("nothing", "there is no file"), ("", "is a directory")):
        said = _refused("inspect", tmp_path / name)
        assert message in said and "Errno" not in said
    said = _refused("compress", "lenet-300-100", tmp_path)
    assert "is a directory, expected the name of a file" in said and not list(tmp_path.glob(".*"))
    assert "make it first" in _refused("compress", "lenet-300-100", tmp_path / "nowhere" / "net")


def test_evaluating_a_network_for_other_inputs_is_told(tmp_path):
    cli.run_compress(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), tmp_path / "net")
    with pytest.raises(ValueError, match="does not take inputs of shape"):
        cli.run_evaluate(tmp_path / "net", torch.rand(5, 1, 28, 28), torch.zeros(5, dtype=torch.long))


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    cli.run_compress(_lenet(), tmp_path / "net")
    before = (tmp_path / "net").read_bytes()
    for moment in ("to_bytes", "os.fsync", "os.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"qtoolkit.compression.container.{moment}", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                cli.run_compress(_lenet(), tmp_path / "net", "lenet-300-100")
        assert [p.name for p in tmp_path.iterdir()] == ["net"] and (tmp_path / "net").read_bytes() == before
    assert container.read(tmp_path / "net").sections


def _interrupt(*_):
    raise KeyboardInterrupt
