"""The stages of `qt reproduce deep-compression` on a few digits: densities, codes, the file and the network that comes out of it."""

import copy

import pytest
import torch

from qtoolkit.compression import decompress
from qtoolkit.compression.pruning import weight_layers
from qtoolkit.lab.augment import WEAK
from qtoolkit.lab.data import mnist
from qtoolkit.lab.models import trained
from qtoolkit.lab.retrain import Pool, answers, pool_of
from qtoolkit.lab.stages import Stages, compressed, named

WAYS = {
    "k-means": Stages((0.1, 0.2, 0.5), 12, 2, bits=(3, 3, 4)),
    "grid": Stages((0.1, 0.2, 0.5), 12, 2, levels=(2, 3, 7), heard=True, context=True, bias_bits=5),
    "units": Stages((0.1, 0.2, 0.5), 12, 2, levels=(2, 3, 7), context=True, units={"1": 120, "3": 40}),
}


@pytest.fixture(scope="module")
def pool():
    digits = mnist("train")[:2000]
    images = pool_of(digits.images, digits.labels, WEAK, copies=2)
    return Pool(images.images, images.labels, answers([trained("lenet-300-100")], images))


@pytest.mark.parametrize("way", WAYS)
def test_a_dense_network_becomes_a_small_file(way, pool, tmp_path):
    dense, stages = trained("lenet-300-100"), WAYS[way]
    before = copy.deepcopy(dense.state_dict())
    report = compressed(dense, stages, pool, seed=0, path=tmp_path / "net.qtdc")
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items()), "the dense network is left alone"
    model = decompress(tmp_path / "net.qtdc")
    for name, density in named(model, stages.density).items():
        weight = weight_layers(model)[name].weight
        assert 0 < (weight != 0).float().mean() <= density + 1e-6
        most = 2 * named(model, stages.levels)[name] if stages.levels else 2 ** named(model, stages.bits)[name] - 1
        assert len(weight[weight != 0].unique()) <= most
    if stages.units:
        assert int((model[1].weight != 0).any(1).sum()) <= 120 and not model[1].weight[120:].any(), "living units come first"
    assert report.bytes == (tmp_path / "net.qtdc").stat().st_size < report.dense_bytes / 15
    digits = mnist("train")[:2000]
    with torch.inference_mode():
        assert (model(digits.inputs()).argmax(1) == digits.labels).float().mean() > 0.85


def test_the_same_seed_writes_the_same_file(pool, tmp_path):
    stages = Stages((0.1, 0.2, 0.5), 1, 1, levels=(2, 3, 7), heard=True)
    for name in ("one", "two"):
        compressed(trained("lenet-300-100"), stages, pool, seed=3, path=tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
