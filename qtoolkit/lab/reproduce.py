"""Results that take longer than a notebook cell, each remade by one function: `qt reproduce NAME`."""

import os
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
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
    from qtoolkit.lab.data import whole_mnist
    from qtoolkit.lab.models import NETWORKS, save_trained
    from qtoolkit.lab.train import error_percent, fit

    recipe, digits, test, started = LENETS[name], whole_mnist("train"), whole_mnist("test"), time.perf_counter()
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


def int8_speed(seconds: float = 4.0) -> Path:
    """Time LeNet-300-100 in float32 and in int8 (torch, ours, ONNX Runtime) at batch 1 and 64; errors and times to int8-speed.json."""
    import torch

    from qtoolkit.kernels import bench, info
    from qtoolkit.lab.data import mnist
    from qtoolkit.lab.train import error_percent

    bench.require_native()
    networks, test = _int8_networks(), mnist("test")
    thread_counts = sorted({1, torch.get_num_threads(), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1})
    rows = [_time(networks, test[:batch].inputs(), number, seconds) for number in thread_counts for batch in (1, 64)]
    errors = {name: error_percent(network, test) for name, network in networks.items()}
    return results.record("int8-speed", {"rows": rows, "test_error_percent": errors, "isa": info()["isa"]}, seed=0)


def _int8_networks() -> dict:
    """LeNet-300-100 three times; static ranges come from the first 1,000 training digits."""
    from qtoolkit.lab.data import mnist
    from qtoolkit.lab.models import trained
    from qtoolkit.layers.api import DynamicInt8, quantize_
    from qtoolkit.layers.int8 import static_int8

    name = "lenet-300-100"
    return {
        "torch float32": trained(name),
        "int8 dynamic": quantize_(trained(name), DynamicInt8()),
        "int8 static": static_int8(trained(name), mnist("train")[:1000].inputs()),
    }


def _time(networks: dict, inputs, number: int, seconds: float) -> dict:
    """One row: microseconds of every network and peer on these inputs, taking turns, and the speed-up over torch's float32."""
    import torch

    from qtoolkit.kernels import bench
    from qtoolkit.kernels.bench_peers import onnx_network

    with bench.threads(number), torch.inference_mode():
        ours = {name: partial(network, inputs) for name, network in networks.items()}
        times = bench.compare(ours | onnx_network(networks["torch float32"], inputs.flatten(1)), seconds)
    first = times["torch float32"].min_us
    return {
        "batch": len(inputs), "threads": number, "runs": times["torch float32"].runs,
        "min_us": {name: round(timing.min_us, 2) for name, timing in times.items()},
        "median_us": {name: round(timing.median_us, 2) for name, timing in times.items()},
        "speedup_over_torch_float32": {name: round(first / timing.min_us, 2) for name, timing in times.items()},
    }


def _elsewhere(module: str, function: str, says: str) -> Callable[[], Path]:
    """The recipe `function` of `qtoolkit.lab.module`, which is imported only when it runs."""
    def recipe() -> Path:
        return getattr(import_module(f"qtoolkit.lab.{module}"), function)()

    recipe.__doc__ = f"{says}; see `qtoolkit.lab.{module}`."
    return recipe


RECIPES: dict[str, Callable[[], Path]] = {
    "lenets": lenets, "int8-speed": int8_speed,
    "ranges": _elsewhere("ranges", "ranges", "Two real networks under every grid, bit width, granularity and calibration"),
    "deep-compression": _elsewhere("deep_compression", "deep_compression", "Both LeNets as the smallest files within an error, five seeds each"),
    "deep-compression-shares": _elsewhere("deep_compression", "shares", "The same under stricter rules, and with one ingredient left out at a time"),
    "large-networks": _elsewhere("large_networks", "reproduce", "AlexNet and VGG-16, as far as their weights can be had, at the paper's densities"),
    "kernel-ladder": _elsewhere("ladder", "reproduce", "One product from a Python loop up to the compiled kernels, and this machine's limits, on one thread"),
    "compressed-rows": _elsewhere("ladder", "reproduce_sparse", "Dense layers against compressed rows at several densities, one row, one thread"),
    "matrix-unit": _elsewhere("matrix_unit", "reproduce", "What changes where one instruction multiplies two tiles; needs a processor with AMX"),
    "compression-curves": _elsewhere("compression_curves", "reproduce", "Error against size for pruning, weight sharing, both and low rank on LeNet-300-100"),
    "hashed-nets": _elsewhere("hashed_curve", "reproduce", "HashedNets, the rival of k-means sharing, at the bytes of five recorded k-means files"),
}


def reproduce(name: str) -> Path:
    """Remake the recorded result `name`; returns the file written. Raises ValueError for a name without a recipe."""
    if name not in RECIPES:
        raise ValueError(f"no recipe for {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]()
