"""The authors' format, from bytes written here by hand, entry by entry; the real file when QT_SONGHAN names one."""

import os
import pickle
import struct

import pytest
import torch
from torch import nn

from qtoolkit.compression.container import BadFile
from qtoolkit.compression.pipeline import LayerRecipe, Recipe, compress, decompress
from qtoolkit.compression.songhan import caffe_alexnet, import_songhan, read_songhan


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))


def _halves(values: list[int]) -> bytes:
    values = values + [0] * (len(values) % 2)
    return bytes(low | high << 4 for low, high in zip(values[::2], values[1::2]))


def _write(weights: list[list[float]], biases: list[list[float]], books: list[list[float]]) -> bytes:
    """Every weight is in its book; a gap of more than 16 is bridged by an entry of code 0."""
    counts, bodies = [], []
    for weight, bias, book in zip(weights, biases, books):
        codes, gaps, last = [], [], -1
        for place, value in enumerate(weight):
            if value == 0:
                continue
            while place - last > 16:
                codes.append(0)
                gaps.append(15)
                last += 16
            codes.append(book.index(value))
            gaps.append(place - last - 1)
            last = place
        counts.append(len(codes))
        packed = bytes(codes) if len(book) == 256 else _halves(codes)
        bodies.append(struct.pack(f"<{len(book)}f", *book) + struct.pack(f"<{len(bias)}f", *bias) + packed + _halves(gaps))
    return struct.pack(f"<{len(counts)}I", *counts) + b"".join(bodies)


def _file() -> tuple[bytes, list[list[float]], list[list[float]]]:
    books = [[0.0] + [k / 64 for k in range(1, 256)], [0.0] + [k / 8 for k in range(-8, 0)] + [k / 8 for k in range(1, 8)]]
    generator = torch.Generator().manual_seed(1)
    weights = []
    for size, book, density in ((27, books[0], 0.4), (240, books[1], 0.1)):
        kept = torch.rand(size, generator=generator) < density
        picks = torch.randint(1, len(book), (size,), generator=generator)
        weights.append([book[int(p)] if k else 0.0 for p, k in zip(picks, kept)])
    biases = [[0.5, -1.0, 2.0], [1.0, 2.0, 3.0, 4.0, -5.0]]
    return _write(weights, biases, books), weights, biases


def test_the_authors_layout_is_read(tmp_path):
    raw, weights, biases = _file()
    (tmp_path / "net").write_bytes(raw)
    model = import_songhan(tmp_path / "net", _model())
    assert model[0].weight.flatten().tolist() == weights[0] and model[0].bias.tolist() == biases[0]
    assert model[3].weight.flatten().tolist() == weights[1] and model[3].bias.tolist() == biases[1]


def test_an_imported_network_goes_into_our_format_unchanged(tmp_path):
    (tmp_path / "net").write_bytes(_file()[0])
    model = import_songhan(tmp_path / "net", _model())
    compress(model, tmp_path / "ours", Recipe(LayerRecipe(bits=8, index_bits=4)))
    ours = decompress(tmp_path / "ours")
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), model.state_dict().values()))


def test_files_that_do_not_fit_are_refused_and_change_nothing(tmp_path):
    raw = _file()[0]
    entries = struct.unpack_from("<2I", raw)[1]
    gap_bytes = (entries + 1) // 2
    overrun = raw[:-gap_bytes] + b"\xff" * gap_bytes
    nan = raw[:8] + struct.pack("<f", float("nan")) + raw[12:]
    model = _model()
    before = pickle.dumps(model.state_dict())
    for data, message in ((raw[:-1], "ends after"), (raw + b"\0", "too many"), (overrun, "index of"), (nan, "NaN"),
                          (struct.pack("<2I", 2**32 - 1, 5) + raw[8:], "ends after")):
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(BadFile, match=message):
            import_songhan(tmp_path / "bad", model)
        assert pickle.dumps(model.state_dict()) == before
    with pytest.raises(ValueError, match="biases"):
        read_songhan(tmp_path / "bad", nn.Sequential(nn.Linear(3, 3, bias=False)))


def test_a_missing_file_is_answered_with_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.net cannot be read .*expected the authors' file: download AlexNet_compressed.net from github"):
        read_songhan(tmp_path / "nowhere.net", _model())
    with pytest.raises(OSError, match="cannot be read"):
        read_songhan(tmp_path, _model())                    # a folder


def test_caffes_alexnet_has_the_papers_layers():
    with torch.device("meta"):
        model = caffe_alexnet()
    sizes = [m.weight.numel() for m in model if hasattr(m, "weight")]
    assert sizes == [34_848, 307_200, 884_736, 663_552, 442_368, 37_748_736, 16_777_216, 4_096_000]      # 35K 307K 885K 663K 442K 38M 17M 4M
    assert sum(p.numel() for p in model.parameters()) == 60_965_224
    assert model(torch.empty(1, 3, 227, 227, device="meta")).shape == (1, 1000)


@pytest.mark.skipif("QT_SONGHAN" not in os.environ, reason="hardware: no copy of AlexNet_compressed.net (set QT_SONGHAN to its path)")
def test_the_published_alexnet_has_the_published_densities():
    state = read_songhan(os.environ["QT_SONGHAN"], caffe_alexnet())
    kept = [100 * float((tensor != 0).float().mean()) for name, tensor in state.items() if name.endswith("weight")]
    assert kept == pytest.approx([84, 38, 35, 37, 37, 9, 9, 25], abs=2)
