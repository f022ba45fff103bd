"""The texts of the commands: JSON with the promised keys, the paper's table, and the authors' file translated."""

import json

import torch
from torch import nn

from qtoolkit.compression import cli
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
