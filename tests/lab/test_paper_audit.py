"""The paper's tables as data, the ledger of a file, and the recorded curves of error against size."""

import copy
import math

import pytest
import torch
from torch import nn

from qtoolkit.compression import LayerRecipe, Recipe, compress, decompress
from qtoolkit.compression.lowrank import factorize_
from qtoolkit.compression.pruning import prune_, weight_layers
from qtoolkit.lab import compression_curves as curves
from qtoolkit.lab import lenet_300_100, paper, results
from qtoolkit.lab.forgotten import ledger


def test_layer_sizes_are_those_of_the_networks():
    shapes = {"AlexNet": [(96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3), (4096, 9216), (4096, 4096), (1000, 4096)],
              "LeNet-300-100": [(300, 784), (100, 300), (10, 100)], "LeNet-5": [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)],
              "VGG-16": [(o, i, 3, 3) for i, o in ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512), (512, 512), (512, 512))]
              + [(4096, 25088), (4096, 4096), (1000, 4096)]}
    for network in paper.NETWORKS:
        assert [row.weights for row in network.rows] == [math.prod(shape) for shape in shapes[network.name]]
        assert network.total.weights == sum(row.weights for row in network.rows)


def test_what_agrees_and_what_does_not():
    totals = {n.name: round(n.percent_from_rows(), 2) for n in paper.NETWORKS}
    assert totals == {"LeNet-300-100": 2.44, "LeNet-5": 2.73, "AlexNet": 2.9, "VGG-16": 1.9}
    assert [set(n.impossible()) for n in paper.NETWORKS] == [{"total"}, {"ip2", "total"}, set(), set()]
    assert all(n.kept_from_rows() == pytest.approx(n.total.kept, abs=0.5) for n in paper.NETWORKS)
    assert [round(paper.geometric_mean(paper.speedups(device)), 2) for device in paper.TABLE_8] == [3.33, 3.54, 4.75]
    assert [round(paper.geometric_mean(paper.energy_ratios(device)), 2) for device in paper.TABLE_9] == [6.68, 3.27, 4.23]
    assert [round(paper.geometric_mean(paper.speedups(device, 64)), 2) for device in paper.TABLE_8] == [0.27, 0.27, 0.78]


@pytest.mark.parametrize("density", [1.0, 0.3, 0.02])
def test_the_ledger_adds_up_to_the_file_and_knows_its_fillers(tmp_path, density):
    torch.manual_seed(0)
    model, path = nn.Sequential(nn.Linear(200, 30), nn.ReLU(), nn.Linear(30, 7)), tmp_path / "net.qtdc"
    report = compress(model, path, Recipe(default=LayerRecipe(density, bits=4, index_bits=3)))
    parts = ledger(path)
    assert sum(parts.values()) == path.stat().st_size == report.bytes
    assert parts["biases"] >= 4 * 37 and min(parts.values()) >= 0
    fillers = round(sum(layer.kept * layer.filler_percent / 100 for layer in report.layers))
    assert (parts["filler gaps"] > 0) == (fillers > 0) and parts["filler gaps"] * 8 <= fillers * 15 + 7


def test_a_filler_free_recoding_is_smaller_by_about_what_the_ledger_says(tmp_path):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(400, 100, bias=False))
    compress(model, tmp_path / "narrow", Recipe(default=LayerRecipe(0.05, bits=4, index_bits=3)))
    parts = ledger(tmp_path / "narrow")
    entries = sum(layer.kept * (1 + layer.filler_percent / 100) for layer in compress(model, tmp_path / "again", Recipe(default=LayerRecipe(0.05, bits=4, index_bits=3))).layers)
    assert parts["filler codes"] + parts["codes"] < entries * 5 / 8 + 64 and parts["filler codes"] > parts["codes"] / 8


def test_sizes_of_the_curves_are_files_and_streams(tmp_path):
    model = lenet_300_100()
    prune_(model, curves.densities(model, 0.08))
    shared = curves.shared_once(model, 3, pool=None, epochs=0)
    stored = compress(shared, tmp_path / "net.qtdc", Recipe(default=LayerRecipe(None, 8, 5))).bytes
    assert curves.file_bytes(shared) <= stored and all(len(layer.weight.unique()) <= 8 for layer in weight_layers(shared).values())
    assert torch.equal(decompress(tmp_path / "net.qtdc")[1].weight, shared[1].weight)
    kept = sum(int((layer.weight != 0).sum()) for layer in weight_layers(model).values())
    assert 4 * (kept + 410) < curves.pruned_bytes(model) < 4 * (kept + 410) + 1.35 * kept


def test_multiplied_undoes_a_factorization():
    model = lenet_300_100(3)
    thin = factorize_(copy.deepcopy(model), {"1": 20, "3": 10})
    x = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    again = curves.multiplied(thin)
    assert torch.allclose(again(x), thin(x), atol=1e-5) and [type(layer) for layer in again] == [type(layer) for layer in model]
    assert curves.parameter_bytes(thin) == 4 * (20 * 1084 + 10 * 400 + 1000 + 410)


def test_the_recorded_curves_are_whole():
    recorded = results.load("compression-curves")
    assert {name: len(points) for name, points in recorded["curves"].items()} == {
        "pruning": len(curves.DENSITIES), "quantization": len(curves.SHARED_BITS), "both": len(curves.DENSITIES), "SVD": len(curves.LOW_RANK)}
    for points in recorded["curves"].values():
        assert [p["bytes"] for p in points] == sorted((p["bytes"] for p in points), reverse=True)
        assert all(p["ratio"] == pytest.approx(recorded["dense"]["bytes"] / p["bytes"], abs=0.01) for p in points)
    assert len(recorded["starts"]) == len(curves.SWEEP_BITS) * len(curves.STARTS)
