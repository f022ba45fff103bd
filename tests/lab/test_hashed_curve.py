"""HashedNets at the bytes of the k-means files: the sizes fit, and the recorded rows are those of the recorded curves."""

import pytest
import torch
from torch import nn

from qtoolkit.compression.hashed import HashedLinear
from qtoolkit.lab import hashed_curve, results
from qtoolkit.lab.retrain import pool_of


@pytest.mark.parametrize("nbytes", [8961, 24677, 80882])
def test_a_hashed_network_has_as_many_numbers_as_fit(nbytes):
    model = hashed_curve.hashed_lenet(nbytes)
    assert sum(4 * p.numel() for p in model.parameters()) == 4 * (nbytes // 4)
    layers = [layer for layer in model if isinstance(layer, HashedLinear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [(300, 784), (100, 300), (10, 100)]
    shares = [layer.buckets.numel() / layer.weight.numel() for layer in layers]
    assert max(shares) < 1.3 * min(shares)
    assert len({layer.seed for layer in layers}) == 3


def test_too_few_bytes_are_refused():
    with pytest.raises(ValueError, match="at least 1652"):
        hashed_curve.hashed_lenet(1651)
    assert sum(p.numel() for p in hashed_curve.hashed_lenet(1652).parameters()) == 413


def test_training_moves_the_buckets_and_depends_on_the_seed_alone():
    draw = torch.Generator().manual_seed(0)
    pool = pool_of(torch.randint(0, 256, (256, 28, 28), generator=draw, dtype=torch.uint8), torch.randint(0, 10, (256,), generator=draw), None)
    start = hashed_curve.hashed_lenet(9000)
    one, other = (hashed_curve.trained_hashed(9000, pool, epochs=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(start[1].buckets, one[1].buckets)
    loss = nn.functional.cross_entropy
    x, y, _ = pool.batch(0, torch.arange(256))
    assert loss(one(x), y) < loss(start(x), y)


def test_the_recorded_rows_are_the_points_of_the_curves():
    recorded, curves = results.load("hashed-nets")["rows"], results.load("compression-curves")["curves"]
    files = {(row["bytes"], row["test_percent"]) for name in ("quantization", "both") for row in curves[name]}
    assert len(recorded) == 5
    assert all((row["bytes"], row["test_percent"]) in files for row in recorded)
    assert [row["passes"] for row in recorded] == [24, 30, 31, 37, 40]
    assert all(0 < row["hashed_test_percent"] < 50 and abs(row["hashed_test_percent"] - row["hashed_held_out_percent"]) < 1.5 for row in recorded)
