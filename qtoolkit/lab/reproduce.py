"""Results that take longer than a notebook cell, each remade by one function: `qt reproduce NAME`."""

import time
from collections.abc import Callable
from pathlib import Path

from qtoolkit.lab import results

# Fixed before the test images were looked at; they are read once, after training.
LENETS = {
    "lenet-300-100": {"epochs": 30, "batch_size": 128, "lr": 2e-3, "dropout": (0.2, 0.3)},
    "lenet-5": {"epochs": 8, "batch_size": 128, "lr": 2e-3, "dropout": None},
}


def lenets(seed: int = 0) -> Path:
    """Train both networks on the 60,000 digits; write their weights into the package and their errors on the 10,000 to lenets.json."""
    measured = {name: _train(name, seed) for name in LENETS}
    return results.record("lenets", measured, seed=seed)


def _train(name: str, seed: int) -> dict:
    from qtoolkit.lab.data import mnist
    from qtoolkit.lab.models import NETWORKS, save_trained
    from qtoolkit.lab.train import error_percent, fit

    recipe, digits, test, started = LENETS[name], mnist("train"), mnist("test"), time.perf_counter()
    if (len(digits), len(test)) != (60_000, 10_000):
        raise RuntimeError("this result needs the whole of MNIST, not the subset: see `qt doctor`")
    model = NETWORKS[name](seed=seed)
    losses = fit(model, digits.inputs(), digits.labels, seed=seed, **recipe)
    if len(losses) < recipe["epochs"]:
        raise KeyboardInterrupt  # an interrupted training is no result
    seconds = time.perf_counter() - started
    save_trained(name, model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_images": len(digits),
        "test_images": len(test),
        "test_error_percent": error_percent(model, test),
        "train_error_percent": error_percent(model, digits),
        "loss_per_epoch": [round(loss, 5) for loss in losses],
        "recipe": recipe | {"optimizer": "Adam", "schedule": "one cycle: 10 % linear warm-up, cosine to 0", "inputs": "pixel / 255"},
        "seconds": round(seconds, 1),
    }


RECIPES: dict[str, Callable[[], Path]] = {"lenets": lenets}


def reproduce(name: str) -> Path:
    """Remake the recorded result `name`; returns the file written. Raises ValueError for a name without a recipe."""
    if name not in RECIPES:
        raise ValueError(f"no recipe for {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]()
