"""Inference from the compressed form: the same numbers as the decoded network, without its dense weights."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from qtoolkit.compression import ContextRecipe, LayerRecipe, Recipe, compress, decompress, load_sparse
from qtoolkit.compression import sparse_layers
from qtoolkit.compression.container import BadFile
from qtoolkit.compression.sparse_layers import SparseConv2d, SparseLinear
from qtoolkit.lab import results
from qtoolkit.lab.data import mnist


def _convnet():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(8, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), nn.ReLU(),
                          nn.Conv2d(6, 6, 3, groups=2), nn.Flatten(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10))
    for _ in range(3):
        model(torch.randn(16, 2, 10, 10))
    return model.eval()


def _same(path, x, model=lambda: None):
    expected, sparse = decompress(path, model()), load_sparse(path, model())
    with torch.no_grad():
        got, wanted = sparse(x), expected(x)
    largest = float(wanted[wanted.isfinite()].abs().max())
    assert torch.allclose(got, wanted, rtol=1e-5, atol=1e-5 * largest) and not sparse.training
    return sparse


@pytest.mark.parametrize("recipe", [LayerRecipe(0.2, 5, 5), LayerRecipe(0.01, 4, 2), LayerRecipe(None, 8, 0), LayerRecipe(0.3, 8, 12),
                                    ContextRecipe(0.2, 4)], ids=str)
@pytest.mark.parametrize("codebook", [torch.float32, torch.float16])
def test_a_network_computes_what_its_decoded_twin_computes(tmp_path, recipe, codebook):
    compress(_convnet(), tmp_path / "net.qtdc", Recipe(recipe, codebook=codebook, bias_bits=16))
    x = torch.randn(7, 2, 10, 10)
    sparse = _same(tmp_path / "net.qtdc", x)
    assert [type(m) for m in sparse if m.__class__.__name__ in ("SparseLinear", "SparseConv2d", "Conv2d", "Linear")] == [
        SparseConv2d, SparseConv2d, nn.Conv2d, SparseLinear, SparseLinear]                        # groups stay dense
    assert torch.allclose(sparse[0](x[0]), sparse[0](x)[0], atol=1e-5)                            # one image without a batch
    assert not any(name in dict(sparse.named_parameters()) for name in ("0.weight", "4.weight", "8.weight", "10.weight"))
    _same(tmp_path / "net.qtdc", x, _convnet)


@pytest.mark.parametrize("network", ["lenet-300-100", "lenet-5"])
def test_every_digit_is_read_as_by_the_decoded_network(network):
    path, digits = results.RESULTS / f"{network}.qtdc", mnist("test")
    dense, sparse = decompress(path), load_sparse(path)
    assert sum(isinstance(m, SparseLinear) for m in sparse) == sum(isinstance(m, (nn.Linear, nn.Conv2d)) for m in dense)
    with torch.no_grad():
        for images, labels in zip(digits.inputs().split(2000), digits.labels.split(2000)):
            expected, got = dense(images), sparse(images)
            assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4) and torch.equal(got.argmax(1), expected.argmax(1))
            assert (got.argmax(1) == labels).float().mean() > 0.9
        one = images[:1]
        assert torch.allclose(sparse(one), dense(one), rtol=1e-4, atol=1e-4)


def test_what_the_kernel_does_not_fit_is_decoded(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 50), nn.Linear(50, 40)).double()
    compress(model, tmp_path / "double.qtdc", Recipe(LayerRecipe(0.5, 5, 5)))
    many = nn.Sequential(nn.Linear(60, 50))
    compress(many, tmp_path / "many.qtdc", Recipe(LayerRecipe(None, 12, 0)))
    endless = nn.Sequential(nn.Linear(60, 50))
    endless[0].bias.data[0] = float("inf")
    compress(endless, tmp_path / "endless.qtdc", Recipe(LayerRecipe(0.5, 5, 5)))
    for name, x, start in (("double", torch.randn(3, 60).double(), model), ("many", torch.randn(3, 60), many), ("endless", torch.randn(3, 60), endless)):
        sparse = _same(tmp_path / f"{name}.qtdc", x, lambda: copy.deepcopy(start))
        assert all(type(module) is nn.Linear for module in sparse)


def test_a_single_layer_half_precision_and_no_bias(tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(300, 20, bias=False).to(torch.bfloat16)
    twin = copy.deepcopy(layer)
    compress(layer, tmp_path / "layer.qtdc", Recipe(LayerRecipe(0.1, 5, 5)))
    sparse, x = load_sparse(tmp_path / "layer.qtdc", layer), torch.randn(4, 300).bfloat16()
    assert type(sparse) is SparseLinear and sparse(x).dtype == torch.bfloat16
    assert torch.allclose(sparse(x).float(), decompress(tmp_path / "layer.qtdc", twin)(x).float(), atol=2e-2)


def test_its_state_survives_saving_and_torch_compile(tmp_path):
    torch.manual_seed(0)
    compress(nn.Sequential(nn.Linear(60, 50), nn.ReLU(), nn.Linear(50, 40)), tmp_path / "net.qtdc", Recipe(LayerRecipe(0.1, 5, 5)))
    first, second = load_sparse(tmp_path / "net.qtdc"), load_sparse(tmp_path / "net.qtdc")
    first[0].layer[1100:1104] = 0                                    # another bias
    x = torch.randn(5, 60)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
    assert torch.allclose(torch.compile(first, fullgraph=True, backend="aot_eager")(x), first(x))
    assert torch.equal(torch.export.export(first, (x,)).module()(x), first(x))


def test_damage_and_strange_models_are_refused_and_change_nothing(tmp_path):
    path, model = tmp_path / "net.qtdc", _convnet()
    compress(model, path, Recipe(LayerRecipe(0.2, 5, 5)))
    whole, x = path.read_bytes(), torch.randn(2, 2, 10, 10)
    before = model(x)
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(BadFile):
            load_sparse(path, model)
    path.write_bytes(whole)
    with pytest.raises(BadFile, match="another network"):
        load_sparse(path, nn.Sequential(nn.Linear(3, 3)))
    assert torch.equal(model(x), before)


_ROOM = """
import re, sys, torch
from pathlib import Path
from qtoolkit.compression import decompress, load_sparse
model = globals()[sys.argv[1]](sys.argv[2])
assert model(torch.randn(1, 4096)).shape == (1, 4096)
print(1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; the ru_maxrss of a child starts from its parent's")
def test_a_large_layer_never_takes_the_room_of_its_dense_weight(tmp_path):
    torch.manual_seed(0)
    dense, peak = 4 * 4096 * 4096, {}
    for name, width in (("small", 16), ("large", 4096)):
        compress(nn.Sequential(nn.Linear(4096, width), nn.Linear(width, 4096)), tmp_path / name, Recipe(LayerRecipe(0.1, 4, 6)))
    for verb, name in (("load_sparse", "small"), ("load_sparse", "large"), ("decompress", "large")):
        run = subprocess.run([sys.executable, "-c", _ROOM, verb, str(tmp_path / name)], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        peak[verb, name] = int(run.stdout)
    assert peak["load_sparse", "large"] - peak["load_sparse", "small"] < 1.4 * dense, peak    # of two layers
    assert peak["decompress", "large"] - peak["load_sparse", "large"] > dense, peak


class _Largest(TorchDispatchMode):
    """The largest tensor that any operation makes, in bytes."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self.largest = max(self.largest, tensor.nbytes)
        return result


def test_no_tensor_on_the_way_is_half_as_large_as_the_dense_weight(tmp_path):
    torch.manual_seed(0)
    compress(nn.Sequential(nn.Linear(2000, 1000)), tmp_path / "net.qtdc", Recipe(LayerRecipe(0.1, 5, 5)))
    with _Largest() as seen:
        load_sparse(tmp_path / "net.qtdc")(torch.randn(1, 2000))
    assert 0 < seen.largest < 4_000_000
    with _Largest() as seen:
        decompress(tmp_path / "net.qtdc")
    assert seen.largest >= 8_000_000                                                              # the measure sees a dense weight


def test_no_dense_weight_is_decoded_on_the_way(tmp_path, monkeypatch):
    compress(nn.Sequential(nn.Linear(60, 50)), tmp_path / "net.qtdc", Recipe(LayerRecipe(0.1, 5, 5)))
    monkeypatch.setattr(sparse_layers.SharedKept, "dense", lambda self: pytest.fail("made dense"))
    assert load_sparse(tmp_path / "net.qtdc")(torch.randn(60)).shape == (50,)
