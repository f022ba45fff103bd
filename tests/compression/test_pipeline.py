"""A model, a file, the model again: bit for bit, for any Linear and Conv network, and with a size that is the file's length."""

import doctest
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from qtoolkit.compression import pipeline, report
from qtoolkit.compression.container import BadFile
from qtoolkit.compression.pipeline import ContextRecipe, LayerRecipe, Recipe, compress, decompress, evaluate, evaluated, inspect, paper_recipe
from qtoolkit.compression.pruning import prune_
from qtoolkit.compression.weight_sharing import share_


def _convnet(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=2, bias=False),
                          nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 20), nn.ReLU(), nn.Linear(20, 10))
    for _ in range(3):
        model(torch.randn(16, 1, 12, 12))                  # running statistics that are not the defaults
    return model.eval()


def _lenet(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    for layer in model[1::2]:
        nn.init.normal_(layer.weight, std=0.05)
    return model


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm = nn.Linear(16, 16), nn.BatchNorm1d(16)

    def forward(self, x):
        return x + self.norm(self.inner(x))


def _same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(left[k].dtype == right[k].dtype and torch.equal(left[k], right[k]) for k in left)


def test_docstrings_run():
    assert doctest.testmod(pipeline).failed == 0
    assert doctest.testmod(report).failed == 0


@pytest.mark.parametrize("recipe", [
    Recipe(), Recipe(LayerRecipe(density=0.1)), Recipe(LayerRecipe(0.3, 3, 0)), Recipe(LayerRecipe(0.05, 4, 2), huffman=False),
    Recipe(LayerRecipe(0.2, 8, 8), layers={"0": LayerRecipe(0.9, 2, 1)}, codebook=torch.float16, bias_bits=8),
    Recipe(ContextRecipe(0.2, 3), layers={"8": LayerRecipe(0.1)}, codebook=torch.float16, bias_bits=4)])
def test_the_file_is_the_model_bit_for_bit(tmp_path, recipe):
    path, model = tmp_path / "net.qtdc", _convnet()
    before = pickle.dumps(model.state_dict())
    made = compress(model, path, recipe)
    assert pickle.dumps(model.state_dict()) == before, "compress changed the model it was given"
    first = decompress(path)
    again = tmp_path / "again.qtdc"
    compress(first, again, recipe)
    assert again.read_bytes() == path.read_bytes(), "what was decoded is not what was encoded"
    into = decompress(path, model=_convnet(seed=1))
    assert _same(first, into)
    images = torch.randn(4, 1, 12, 12)
    assert torch.equal(first(images), into(images))
    assert made == inspect(path) and made.bytes == os.path.getsize(path)


def test_a_model_pruned_and_shared_by_hand_is_stored_exactly(tmp_path):
    model = _convnet()
    prune_(model, 0.4)
    share_(model, 4)
    weights = [layer.weight.detach().clone() for layer in (model[0], model[4], model[8], model[10])]
    compress(model, tmp_path / "net.qtdc", Recipe(LayerRecipe(bits=4)))
    assert hasattr(model[8], "parametrizations"), "compress changed the model it was given"
    assert all(torch.equal(model[i].weight, weight) for i, weight in zip((0, 4, 8, 10), weights))
    decoded = decompress(tmp_path / "net.qtdc")
    for weight, index in zip(weights, (0, 4, 8, 10)):
        assert torch.equal(decoded[index].weight, weight)
    assert torch.equal(decoded[1].running_var, model[1].running_var)
    assert decoded[1].num_batches_tracked == 3


def test_the_report_adds_up_and_speaks_the_papers_columns(tmp_path):
    model = _lenet()
    recipe = paper_recipe("lenet-300-100", model)
    made = compress(model, tmp_path / "net.qtdc", recipe)
    assert made.dense_bytes == 4 * 266_610
    assert made.ratio == made.dense_bytes / os.path.getsize(tmp_path / "net.qtdc")
    assert sum(layer.bytes for layer in made.layers) + made.other_bytes == made.bytes
    assert [layer.name for layer in made.layers] == ["1", "3", "5"]
    assert [round(layer.kept_percent) for layer in made.layers] == [8, 9, 26]
    for layer, (old, new) in zip(made.layers, ((3.1, 2.32), (3.8, 3.04), (15.7, 12.7))):       # table 2 of the paper
        assert layer.percent_pq == pytest.approx(old, rel=0.3) and layer.percent_pqh == pytest.approx(new, rel=0.3)
        assert layer.percent_pqh < layer.percent_pq
    plain = json.loads(json.dumps(made.to_dict()))
    assert {"ratio", "bytes", "dense_bytes", "error_percent", "layers"} <= set(plain) and plain["error_percent"] is None
    assert "P+Q+H%" in made.table()


def test_without_huffman_the_section_has_the_size_that_the_report_predicts(tmp_path):
    recipe = Recipe(LayerRecipe(0.1, 5, 5))
    coded = compress(_lenet(), tmp_path / "a", recipe)
    fixed = compress(_lenet(), tmp_path / "b", Recipe(recipe.default, huffman=False))
    for a, b in zip(coded.layers, fixed.layers):
        assert a.percent_pq == pytest.approx(b.percent_pqh, abs=0.02 if a.weights > 2000 else 0.2)
        entries = b.kept * (1 + b.filler_percent / 100)
        assert b.bytes == pytest.approx(entries * (b.weight_bits + b.index_bits) / 8 + 4 * b.codebook, abs=30)


def test_the_context_coder_is_smaller_and_decodes_to_the_same(tmp_path):
    model = _convnet()
    huffman = compress(model, tmp_path / "a", Recipe(LayerRecipe(0.2, 3)))
    context = compress(model, tmp_path / "b", Recipe(ContextRecipe(0.2, 3)))
    assert context.bytes < huffman.bytes and _same(decompress(tmp_path / "a"), decompress(tmp_path / "b"))
    assert [layer.kept for layer in context.layers] == [layer.kept for layer in huffman.layers]
    assert {layer.coder for layer in context.layers} == {"context"} and " - " in context.table()
    assert context.layers[2].index_bits is None and json.dumps(context.to_dict())


def test_any_module_can_be_stored_but_not_rebuilt_without_its_class(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(Residual(), nn.Linear(16, 3))
    compress(model, tmp_path / "net", Recipe(LayerRecipe(0.5)))
    with pytest.raises(ValueError, match="expected model="):
        decompress(tmp_path / "net")
    decoded = decompress(tmp_path / "net", nn.Sequential(Residual(), nn.Linear(16, 3)))
    assert torch.equal(decoded[0].norm.weight, model[0].norm.weight)


def test_a_file_for_another_network_changes_nothing(tmp_path):
    compress(_convnet(), tmp_path / "net")
    for other in (_lenet(), nn.Sequential(*list(_convnet())[:-1], nn.Linear(20, 11))):
        before = pickle.dumps(other.state_dict())
        with pytest.raises(BadFile, match="another network"):
            decompress(tmp_path / "net", other)
        assert pickle.dumps(other.state_dict()) == before


def test_a_single_layer_and_half_precision(tmp_path):
    layer = nn.Linear(20, 5).bfloat16()
    compress(layer, tmp_path / "one", Recipe(LayerRecipe(0.5, 3)))
    decoded = decompress(tmp_path / "one", nn.Linear(20, 5).bfloat16())
    assert decoded.weight.dtype == torch.bfloat16 and int((decoded.weight != 0).sum()) == 50
    assert torch.equal(decoded.bias, layer.bias)


def test_evaluate_counts_errors_of_the_decoded_file(tmp_path):
    model, images = _convnet(), torch.randn(257, 1, 12, 12)
    compress(model, tmp_path / "net", Recipe(LayerRecipe(0.5)))
    labels = decompress(tmp_path / "net")(images).argmax(1)
    labels[:64] = (labels[:64] + 1) % 10
    assert evaluate(tmp_path / "net", images, labels, batch_size=100) == pytest.approx(100 * 64 / 257)
    assert evaluated(tmp_path / "net", images, labels).to_dict()["error_percent"] == pytest.approx(100 * 64 / 257)
    with pytest.raises(ValueError, match="as many of both"):
        evaluate(tmp_path / "net", images, labels[:3])


def test_bad_requests_are_refused_before_a_file_appears(tmp_path):
    broken = _lenet()
    broken[1].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="'1.weight'.*NaN"):
        compress(broken, tmp_path / "net")
    with pytest.raises(ValueError, match="the recipe names"):
        compress(_lenet(), tmp_path / "net", Recipe(layers={"9": LayerRecipe()}))
    with pytest.raises(ValueError, match="Linear and Conv"):
        compress(nn.Sequential(nn.ReLU()), tmp_path / "net")
    with pytest.raises(ValueError, match="too large for torch.float16"):
        big = _lenet()
        big[1].weight.data[0, 0] = 1e6
        compress(big, tmp_path / "net", Recipe(codebook=torch.float16))
    with pytest.raises(ValueError, match="expected one of"):
        paper_recipe("resnet", _lenet())
    with pytest.raises(ValueError, match="expected the 4"):
        paper_recipe("lenet-5", _lenet())
    assert os.listdir(tmp_path) == []


def test_the_file_holds_no_pickle_and_no_zip(tmp_path):
    compress(_lenet(), tmp_path / "net")
    raw = (tmp_path / "net").read_bytes()
    assert not zipfile.is_zipfile(io.BytesIO(raw)) and raw[:4] == b"QTDC" and b"torch" not in raw


def test_the_same_model_and_recipe_make_the_same_bytes_in_another_process(tmp_path):
    compress(_lenet(), tmp_path / "here", Recipe(LayerRecipe(0.1)))
    code = ("import torch; from torch import nn; from qtoolkit.compression.pipeline import *; torch.manual_seed(0);"
            "m = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10));"
            "[nn.init.normal_(layer.weight, std=0.05) for layer in m[1::2]];"
            f"compress(m, {str(tmp_path / 'there')!r}, Recipe(LayerRecipe(0.1)))")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_progress_names_what_is_being_written(tmp_path):
    seen = []
    compress(_lenet(), tmp_path / "net", progress=seen.append)
    assert seen == list(_lenet().state_dict())
    assert np.isfinite(inspect(tmp_path / "net").ratio)
