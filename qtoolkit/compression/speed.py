"""How fast files are written and read, and in how much memory: VGG-16's shapes at the paper's densities, and layers by size.

`qt bench --files` prints this. Random weights stand in for trained ones: time and memory depend on shapes, densities and bits.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from qtoolkit.compression.pipeline import LayerRecipe, Recipe, compress, decompress, paper_recipe

SIZES = (10**5, 10**6, 10**7, 10**8)
_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)     # 0: pooling


def vgg16(seed: int = 0) -> nn.Sequential:
    """VGG-16 with random weights, 138,357,544 parameters: images (N, 3, 224, 224) -> logits (N, 1000).

    Source: Simonyan and Zisserman 2015, configuration D.
    """
    torch.manual_seed(seed)
    layers, channels = [], 3
    for width in _WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2, 2)]
        channels = width or channels
    head = (nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000))
    return nn.Sequential(*layers, nn.Flatten(), *head)


def _square(weights: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(100, weights // 100, bias=False))


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(path: Path, what: str) -> str:
    """One row of the table, measured in this process: "write" makes the file, "read" decodes it; `what` is "vgg-16 read", "1000 write"."""
    name, verb = what.split()
    _warm_up(path)
    if verb == "write":
        model = vgg16() if name == "vgg-16" else _square(int(name))
        dense, before = sum(t.nbytes for t in model.state_dict().values()), _peak_bytes()
        recipe = paper_recipe(name, model) if name == "vgg-16" else Recipe(LayerRecipe(0.1, 5, 5))
        run = partial(compress, model, path, recipe)
    else:
        run, before = partial(decompress, path), _peak_bytes()
        dense = sum(t.nbytes for t in run().state_dict().values())
    first, peak = _seconds(run), _peak_bytes()
    return _row(name, verb, dense, min(first, *(_seconds(run) for _ in range(2))), peak - before)


def _warm_up(path: Path) -> None:
    """The first file of a process also pays for imports and for starting threads."""
    small = path.with_suffix(".warm")
    compress(_square(1000), small, Recipe(LayerRecipe(0.1, 5, 5)))
    decompress(small)
    small.unlink()


def _row(name: str, verb: str, dense: int, seconds: float, extra: int) -> str:
    return f"{name:>12} {verb:6} {seconds:9.3f} s {1e9 * seconds / (dense / 4):9.1f} ns a weight {extra / 2**20:8.0f} MB {extra / dense:6.2f} x dense"


def main(sizes: tuple[int, ...] = SIZES) -> None:
    """Print seconds, time per weight and memory beyond what was there before, each row from a process of its own."""
    print("           what     seconds    time per weight      memory beyond the model given")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vgg-16", *map(str, sizes)):
            for verb in ("write", "read"):
                subprocess.run([sys.executable, "-m", __name__, str(Path(folder) / name), f"{name} {verb}"], check=True)


if __name__ == "__main__":
    print(measure(Path(sys.argv[1]), sys.argv[2]))
