"""HashedNets at the sizes of the k-means files: the rival's points for the recorded curves of error against size.

Each network has LeNet-300-100's shape and as many bucket values as the file of the k-means network has bytes for. It trains for as many
passes as that one had behind it in all (dense, pruned, shared), on the same 55,000 digits and the same dense network's answers. The test
digits are read once.
"""

import time
from pathlib import Path

import torch
from torch import nn

from qtoolkit.compression.hashed import HashedLinear
from qtoolkit.lab import results
from qtoolkit.lab.compression_curves import CODE_EPOCHS, DENSE_EPOCHS, EPOCHS, SEED, dense_network, taught_by
from qtoolkit.lab.retrain import Pool, pool_of, retrain

LAYERS = ((784, 300), (300, 100), (100, 10))


def hashed_lenet(nbytes: int, seed: int = SEED) -> nn.Sequential:
    """LeNet-300-100 of hashed layers: `nbytes` in float32 buckets and biases, shared out among the layers by their size.

    >>> sum(p.numel() for p in hashed_lenet(40_000).parameters())
    10000
    """
    biases, weights = sum(n for _, n in LAYERS), sum(k * n for k, n in LAYERS)
    left = nbytes // 4 - biases
    if left < len(LAYERS):
        raise ValueError(f"nbytes is {nbytes}, expected at least {4 * (biases + len(LAYERS))}: biases and one bucket a layer")
    buckets = [max(1, left * k * n // weights) for k, n in LAYERS]
    buckets[0] += left - sum(buckets)
    layers = [HashedLinear(k, n, count, seed=seed + i) for i, ((k, n), count) in enumerate(zip(LAYERS, buckets, strict=True))]
    return nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def trained_hashed(nbytes: int, pool: Pool, epochs: int, seed: int = SEED) -> nn.Sequential:
    """A hashed network of so many bytes, trained from nothing."""
    return retrain(hashed_lenet(nbytes, seed), pool, epochs=epochs, lr=3e-3, seed=seed, what=f"{nbytes:,} bytes")


def reproduce() -> Path:
    """Train a hashed network for each size of the recorded k-means files (about nine minutes on one core); write `hashed-nets.json`."""
    from qtoolkit.lab.data import mnist
    from qtoolkit.lab.deep_compression import training_images
    from qtoolkit.lab.train import error_percent

    started, (train, held_out), test = time.process_time(), training_images(), mnist("test")
    plain = pool_of(train.images, train.labels, None)
    pool = taught_by(dense_network(plain), plain)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = []
        for point in _points():
            model = trained_hashed(point["bytes"], pool, point["passes"])
            rows.append(point | {"hashed_held_out_percent": round(error_percent(model, held_out), 2), "hashed_test_percent": round(error_percent(model, test), 2)})
    finally:
        torch.set_num_threads(threads)
    return results.record("hashed-nets", {"rows": rows, "processor_seconds": round(time.process_time() - started)}, seed=SEED)


def _points() -> list[dict]:
    """The k-means files to match: 4 and 2 bits with nothing pruned, and three pruned ones; each with all passes over the digits behind it."""
    curves, points = results.load("compression-curves")["curves"], []
    for curve, extra, wanted in (("quantization", 0, (" 4 bits a weight", " 2 bits a weight")), ("both", CODE_EPOCHS, ("8% ", "3% ", "2% "))):
        for place, row in enumerate(curves[curve], start=1):
            if row["recipe"].startswith(wanted) or row["recipe"].endswith(wanted):
                kept = {key: row[key] for key in ("bytes", "ratio", "held_out_percent", "test_percent", "recipe")}
                points.append(kept | {"passes": DENSE_EPOCHS + EPOCHS * place + extra})
    return points
