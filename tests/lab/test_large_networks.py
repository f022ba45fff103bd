"""AlexNet and VGG-16: the constants of an ONNX file, the networks' shapes, and what the recorded file says of real weights."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from qtoolkit.lab import large_networks as large
from qtoolkit.lab import results
from qtoolkit.lab.fetch import DataUnavailable, Source, fetch
from qtoolkit.lab.paper import VGG_16
from qtoolkit.lab.ways import sha256_of


@pytest.fixture(scope="module")
def convolutions():
    try:
        return large.load_vgg16_convolutions()
    except DataUnavailable as reason:
        pytest.skip(str(reason))


def test_constants_of_an_onnx_file_are_read_as_onnx_reads_them(tmp_path):
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(300, 2)).astype("f4"), "scalar": np.float32(3).reshape(()), "b/c": rng.normal(size=(2, 3, 5, 1)).astype("f4")}
    constants = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    whole = onnx.numpy_helper.from_array(np.arange(4), "integers are left out")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["a"], ["out"])], "g", [], [], [*constants, whole])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "net.onnx")
    found = dict(large.onnx_tensors(tmp_path / "net.onnx"))
    assert list(found) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), value)


@pytest.mark.parametrize("network, parameters", [("AlexNet", 61_100_840), ("VGG-16", 138_357_544)])
def test_a_whole_network_takes_torchvisions_weights_in_order(network, parameters, monkeypatch, tmp_path):
    shapes, asked = {}, []

    def load(source: Source, build) -> nn.Module:
        with torch.device("meta"):
            model = build()
        assert sum(p.numel() for p in model.parameters()) == parameters
        assert model(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)
        shapes.update({name: tuple(p.shape) for name, p in model.named_parameters()})
        asked.append(source)

    monkeypatch.setattr(large, "load_whole", load)
    large.NETWORKS[network][1]()
    (name,) = asked[0].files
    assert len(shapes) == 2 * {"AlexNet": 8, "VGG-16": 16}[network]
    assert asked[0].files[name].startswith(name.removesuffix(".pth").rsplit("-", 1)[1])     # torchvision names its files by their hash


def test_weights_under_other_names_are_loaded_in_order(monkeypatch, tmp_path):
    build = lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(4, 5))           # noqa: E731
    model = build()
    renamed = OrderedDict(zip(("features.0.weight", "features.0.bias", "classifier.weight", "classifier.bias"), model.state_dict().values()))
    torch.save(renamed, tmp_path / "tiny-12345678.pth")
    monkeypatch.setenv("QT_DATA", str(tmp_path))
    monkeypatch.setenv("QT_CACHE", str(tmp_path / "cache"))
    source = Source("tiny", {"tiny-12345678.pth": sha256_of(tmp_path / "tiny-12345678.pth")}, ())
    loaded = large.load_whole(source, build)
    assert not loaded.training and all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True))


def test_what_cannot_be_downloaded_is_said_not_to_be_measured(monkeypatch, tmp_path):
    def unavailable():
        raise DataUnavailable("no way")

    monkeypatch.setattr(large, "NETWORKS", {"AlexNet": ("alexnet", unavailable)})
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    written = json.loads(large.reproduce().read_text())
    assert "could not be downloaded" in written["networks"]["AlexNet"]["not_measured"]


def test_the_convolutions_compute_what_the_file_computes(convolutions):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path = fetch(large.VGG_16_CONVOLUTIONS) / next(iter(large.VGG_16_CONVOLUTIONS.files))
    model = onnx.load(path)
    last = [node for node in model.graph.node if node.op_type == "MaxPool"][-1].output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = runtime.InferenceSession(model.SerializeToString())
    pictures = 50 * torch.randn(1, 3, 240, 240, generator=torch.Generator().manual_seed(0))
    expected, = session.run([last], {session.get_inputs()[0].name: pictures.permute(0, 2, 3, 1).numpy()})
    with torch.inference_mode():
        ours = convolutions(pictures)
    torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=1e-3, atol=1e-3 * float(ours.abs().max()))


def test_the_recorded_file_is_what_these_weights_take(convolutions):
    recorded = results.load("large-networks")["networks"]["VGG-16 convolutions"]
    assert large._report(convolutions, "vgg-16") == recorded
    assert [layer["weights"] for layer in recorded["layers"]] == [row.weights for row in VGG_16.rows[:13]]
    assert all(abs(layer["kept_percent"] - row.kept) < 0.05 for layer, row in zip(recorded["layers"], VGG_16.rows))
