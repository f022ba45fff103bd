"""MNIST itself, against facts that are published or were computed by others; and the reader of its files."""

import pytest
import torch

from qtoolkit.lab import data
from qtoolkit.lab.fetch import DataUnavailable, Source, fetch
from qtoolkit.lab.ways import Folder


def _require(source: Source):
    try:
        fetch(source)
    except DataUnavailable as reason:
        pytest.skip(str(reason))


def test_the_whole_of_mnist_in_its_original_order():
    _require(data.MNIST)
    train, test = data.mnist("train"), data.mnist("test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.images.shape == (60_000, 28, 28) and train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert round(train.images.double().mean().item(), 4) == 33.3184
    assert round(train.images.double().std(correction=0).item(), 4) == 78.5675
    assert train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3] and test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    # counts per digit, from the data set's documentation
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_inputs_are_pixels_over_255():
    digits = data.Digits(torch.tensor([[[0, 51], [102, 255]]], dtype=torch.uint8), torch.tensor([3]))
    assert digits.inputs().shape == (1, 1, 2, 2) and digits.inputs().dtype == torch.float32
    torch.testing.assert_close(digits.inputs().flatten(), torch.tensor([0, 0.2, 0.4, 1.0]))


def test_a_part_of_the_digits_is_digits():
    digits = data.Digits(torch.zeros(5, 28, 28, dtype=torch.uint8), torch.arange(5))
    assert digits[1:3].labels.tolist() == [1, 2] and digits[torch.tensor([4, 0])].labels.tolist() == [4, 0]


@pytest.mark.parametrize("split", ["validation", "", 3, None, ["train"]])
def test_another_split_is_refused(split):
    with pytest.raises(ValueError, match="expected 'train' or 'test'"):
        data.mnist(split)


def _nowhere(name: str, files) -> Source:
    return Source(name, files, ())


def test_without_mnist_the_subset_comes_with_a_banner(monkeypatch, capsys):
    _require(data.MNIST_5K)
    monkeypatch.setattr(data, "MNIST", _nowhere("no-mnist", data.MNIST.files))
    train, test = data.mnist("train"), data.mnist("test")
    assert "SUBSET of 5,000 images" in capsys.readouterr().err
    assert train.labels.bincount().tolist() == [400] * 10 and test.labels.bincount().tolist() == [100] * 10
    assert train.images.shape == (4000, 28, 28) and train.images.max() == 255


def test_the_subset_consists_of_mnist_images():
    _require(data.MNIST)
    _require(data.MNIST_5K)
    whole = {image.numpy().tobytes() for image in data.mnist("train").images} | {image.numpy().tobytes() for image in data.mnist("test").images}
    small = data._subset("test", DataUnavailable())
    assert all(image.numpy().tobytes() in whole for image in small.images)


def test_without_anything_the_error_names_both_sources(monkeypatch):
    monkeypatch.setattr(data, "MNIST", _nowhere("no-mnist", data.MNIST.files))
    monkeypatch.setattr(data, "MNIST_5K", Source("no-mnist-5k", data.MNIST_5K.files, (Folder(data.Path("/nowhere")),)))
    with pytest.raises(DataUnavailable, match="(?s)no-mnist.*QT_DATA.*no-mnist-5k.*/nowhere"):
        data.mnist()


def test_an_idx_file_is_read_and_a_wrong_one_refused(tmp_path):
    path = tmp_path / "digits"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    assert data.read_idx(path).tolist() == [[1, 2, 3], [4, 5, 6]]
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5]))
    with pytest.raises(ValueError, match=r"17 bytes, expected 18 for shape \(2, 3\)"):
        data.read_idx(path)
    for content in (b"", b"\x00\x00", bytes([0, 0, 13, 1, 0, 0, 0, 0]), b"%PDF-1.4"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="expected an idx file"):
            data.read_idx(path)
