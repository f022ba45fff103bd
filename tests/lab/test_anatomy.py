"""The fields of a file cover it without a hole, and say what the library reads."""

import pytest
import torch
from torch import nn

from qtoolkit.compression import BadFile, ContextRecipe, LayerRecipe, Recipe, compress, inspect, sections
from qtoolkit.lab.anatomy import bytes_by_kind, fields

RECIPES = {
    "huffman": Recipe(LayerRecipe(0.3, 3, 4), codebook=torch.float16, bias_bits=8),
    "fixed widths, float32": Recipe(LayerRecipe(0.3, 3, 4), huffman=False),
    "a code for every weight": Recipe(LayerRecipe(None, 2, 0), bias_bits=16),
    "context": Recipe(ContextRecipe(0.3, 3), bias_bits=5),
    "no shared value at all": Recipe(LayerRecipe(0.0, 3, 4)),
}


def _model(seed: int = 0) -> nn.Sequential:
    chance = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(40, 130), nn.ReLU(), nn.Linear(130, 10))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=chance)
    return model


def _file(tmp_path, recipe, model=None) -> bytes:
    compress(model or _model(), tmp_path / "net.qtdc", recipe)
    return (tmp_path / "net.qtdc").read_bytes()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_fields_cover_the_file_once(tmp_path, recipe):
    data = _file(tmp_path, recipe)
    found = fields(data)
    assert found[0].start == 0 and found[-1].end == len(data)
    assert all(before.end == after.start and before.start < before.end for before, after in zip(found, found[1:]))
    assert sum(sum(kinds.values()) for kinds in bytes_by_kind(data).values()) == len(data)


def test_sections_are_as_long_as_the_report_says(tmp_path):
    sizes = bytes_by_kind(_file(tmp_path, RECIPES["huffman"]))
    for layer in inspect(tmp_path / "net.qtdc").layers:
        assert sum(sizes[f"{layer.name}.weight"].values()) == layer.bytes


def test_a_step_of_a_grid_is_told(tmp_path):
    model = nn.Sequential(nn.Linear(40, 10))
    model[0].weight.data = torch.randint(-3, 4, (10, 40), generator=torch.Generator().manual_seed(1)) * 0.25
    told = {f.label: f.value for f in fields(_file(tmp_path, Recipe(LayerRecipe(None, 3, 3)), model))}
    assert (told["codebook: step"], told["codebook: levels each way"]) == ("0.25", "3")


def test_values_are_those_of_the_format(tmp_path):
    """By hand: magic, version and length stand at fixed places; a Huffman table is half a byte a length."""
    model = nn.Sequential(nn.Linear(100, 60))
    nn.init.normal_(model[0].weight, generator=torch.Generator().manual_seed(0))
    data = _file(tmp_path, RECIPES["huffman"], model)
    found = {f.label: f for f in fields(data)}
    assert found["version"].value == "1" and data[4:6] == b"\x01\x00"
    assert found["length of the file"].value == f"{len(data)} bytes"
    assert found["shape"].value == "60"  # the bias comes last
    table = found["gaps: table of codeword lengths"]
    assert table.end - table.start == 8 and len(table.value.split(": ")[1].split()) == 16
    assert found["name"].section == "0.bias" and {f.kind for f in found.values()} == {"frame", "shape", "codebook", "gaps", "table", "codes", "rest"}


def test_a_damaged_file_has_no_fields(tmp_path):
    data = bytearray(_file(tmp_path, RECIPES["huffman"]))
    data[40] ^= 1
    with pytest.raises(BadFile, match="checksum"):
        fields(bytes(data))


def test_every_kind_of_section_is_known():
    from qtoolkit.lab.anatomy import _BODIES

    assert set(_BODIES) == {sections.ARCHITECTURE, sections.DENSE, sections.UNIFORM, sections.SHARED, sections.CONTEXT}
