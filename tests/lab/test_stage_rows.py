"""The bytes of each stage add up to what is really stored."""

import torch
from torch import nn

from qtoolkit.compression import LayerRecipe, Recipe, compress
from qtoolkit.lab.stage_rows import PARTS, best_relative_index, dense_rows, file_rows, pruned_rows


def _pruned() -> nn.Sequential:
    chance = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 10))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=chance)
    for layer in (model[0], model[2]):
        layer.weight.data *= torch.rand(layer.weight.shape, generator=chance) < 0.1
    model[0].weight.data[5:35] = 0  # 1,500 zeros in a row: no gap is that long, whatever its width
    return model


def _total(rows) -> int:
    return sum(sum(row.values()) for row in rows.values())


def test_dense_is_four_bytes_a_parameter():
    assert _total(dense_rows(_pruned())) == 4 * sum(p.numel() for p in _pruned().parameters())


def test_pruned_is_what_the_index_and_the_values_weigh():
    model = _pruned()
    rows = pruned_rows(model)
    assert best_relative_index(model[0]).fillers > 4
    for name in ("0", "2"):
        index = best_relative_index(model[int(name)])
        assert torch.equal(index.dense(), model[int(name)].weight)
        assert rows[f"layer {name}"]["places"] == len(index.tobytes())
        assert rows[f"layer {name}"]["values"] == len(index.values.detach().numpy().tobytes())
        others = [4 * len(other.gaps) + other.nbytes for other in _indices(model[int(name)].weight)]
        assert 4 * len(index.gaps) + index.nbytes == min(others)
    assert rows["biases"]["values"] == 4 * 50


def _indices(weight):
    from qtoolkit.compression.sparse_index import relative_index

    return [relative_index(weight, bits) for bits in range(1, 9)]


def test_a_files_rows_are_its_length_and_agree_with_the_other_stages(tmp_path):
    model = _pruned()
    report = compress(model, tmp_path / "net.qtdc", Recipe(LayerRecipe(None, 3, 5)))
    rows = file_rows(tmp_path / "net.qtdc")
    assert _total(rows) == report.bytes == (tmp_path / "net.qtdc").stat().st_size
    assert [sum(rows[f"layer {layer.name}"].values()) for layer in report.layers] == [layer.bytes for layer in report.layers]
    assert rows["biases"]["values"] == 4 * 50 and rows["frame and network"]["values"] == 0
    assert list(rows) == list(dense_rows(model)) and all(tuple(row) == PARTS for row in rows.values())
