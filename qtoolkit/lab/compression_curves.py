"""Error against size on LeNet-300-100: pruning, weight sharing, both, and low rank; bit widths; three ways to start k-means.

The recorded counterpart of figures 6 to 8 of Han, Mao and Dally 2016. A dense network is trained on 55,000 digits. Every curve is a
chain: a point starts from the network of the point before and trains for `EPOCHS`. Every point reports its error on 5,000 held-out
training digits; the test digits are read once for each point, at the end, and choose nothing.
"""

import copy
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from qtoolkit.compression import GradualPruning, LayerRecipe, Recipe, compress, share_, unshare_
from qtoolkit.compression.lowrank import factorize_, rank_for
from qtoolkit.compression.pruning import weight_layers
from qtoolkit.compression.sections import encode_symbols
from qtoolkit.compression.sparse_index import relative_index
from qtoolkit.lab import results
from qtoolkit.lab.retrain import Pool, answers, pool_of, retrain
from qtoolkit.lab.stages import shortest_layers
from qtoolkit.quantizers import ForgyInit, density_init, linear_init

SEED, EPOCHS, CODE_EPOCHS, DENSE_EPOCHS = 0, 3, 1, 12
DENSITIES = (0.5, 0.3, 0.2, 0.15, 0.1, 0.08, 0.05, 0.03, 0.02)      # of the first layer; the others in the paper's proportions
PROPORTIONS = (1.0, 9 / 8, 26 / 8)
SHARED_BITS = (8, 6, 5, 4, 3, 2)
BOTH_BITS = 4
LOW_RANK = (0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03)                  # numbers kept in the two large layers
STARTS = ("linear", "density", "Forgy")
SWEEP_BITS = (8, 6, 5, 4, 3, 2)


def dense_network(pool: Pool, epochs: int = DENSE_EPOCHS) -> nn.Sequential:
    """LeNet-300-100 trained on the pool's labels alone."""
    from qtoolkit.lab.models import lenet_300_100

    return retrain(lenet_300_100(SEED), pool, epochs=epochs, lr=1e-3, seed=SEED, what="dense")


def taught_by(dense: nn.Module, pool: Pool) -> Pool:
    """The same images with the dense network's answers: every later stage learns from them."""
    return replace(pool, answers=answers([dense], pool))


def densities(model: nn.Module, first: float) -> dict[str, float]:
    """Densities of all layers in the proportions of the paper's table 2, none above 1.

    >>> from qtoolkit.lab import lenet_300_100
    >>> densities(lenet_300_100(), 0.08)
    {'1': 0.08, '3': 0.09, '5': 0.26}
    """
    return {name: round(min(1.0, first * share), 4) for name, share in zip(weight_layers(model), PROPORTIONS, strict=True)}


def pruned_once(model: nn.Module, first: float, pool: Pool, epochs: int = EPOCHS) -> nn.Module:
    """A copy, pruned to these densities at the first step and trained on.

    See: book/chapters/20-the-paper-audited.ipynb#accuracy-against-size
    """
    model = copy.deepcopy(model)
    schedule = GradualPruning(model, densities(model, first), stop=1)
    return retrain(model, pool, epochs=epochs, lr=1e-3, seed=SEED, after_step=schedule.step, what=f"pruning to {first:.0%}")


def shared_once(model: nn.Module, bits: int, pool: Pool, epochs: int = CODE_EPOCHS, init=None) -> nn.Module:
    """A copy whose weights share 2^bits - 1 values a layer, the values trained on. `init` as in `share`.

    See: book/chapters/20-the-paper-audited.ipynb#accuracy-against-size
    """
    model = share_(copy.deepcopy(model), bits, **({} if init is None else {"init": init}))
    if epochs:
        retrain(model, pool, epochs=epochs, lr=5e-4, seed=SEED, what=f"{bits} bits")
    return unshare_(model).eval()


def low_rank_once(model: nn.Module, density: float, pool: Pool, epochs: int = EPOCHS) -> nn.Module:
    """A copy whose two large layers are products of two thin ones each, trained on."""
    model = copy.deepcopy(model)
    ranks = {name: rank_for(*layer.weight.shape, density) for name, layer in list(weight_layers(model).items())[:2]}
    return retrain(factorize_(model, ranks), pool, epochs=epochs, lr=1e-3, seed=SEED, what=f"rank {list(ranks.values())}")


def multiplied(model: nn.Sequential) -> nn.Sequential:
    """Undo `factorize_`: two thin layers become their product again, a plain network of the same function."""
    layers = []
    for layer in model:
        if isinstance(layer, nn.Sequential):
            thin, wide = layer
            product = nn.Linear(thin.in_features, wide.out_features)
            product.weight, product.bias = nn.Parameter((wide.weight @ thin.weight).detach()), nn.Parameter(wide.bias.detach().clone())
            layer = product
        layers.append(layer)
    return nn.Sequential(*layers)


def file_bytes(model: nn.Module, indexed: bool = True) -> int:
    """Length of the file of a network whose layers already share few values; not indexed: no gaps, a code for every weight."""
    layers = shortest_layers(model) if indexed else dict.fromkeys(weight_layers(model), LayerRecipe(None, 8, index_bits=0))
    with tempfile.TemporaryDirectory() as folder:
        return compress(model, Path(folder) / "net.qtdc", Recipe(layers=layers)).bytes


def pruned_bytes(model: nn.Module) -> int:
    """Bytes of a pruned network in float32: Huffman coded gaps of the best width, 4 bytes for each stored entry and each bias; no header."""
    def one(weight: torch.Tensor, bits: int) -> int:
        index = relative_index(weight, bits)
        return len(encode_symbols(index.gaps - 1, bits)) + 4 * index.gaps.numel()

    return sum(min(one(layer.weight, bits) for bits in range(2, 9)) + 4 * layer.bias.numel() for layer in weight_layers(model).values())


def parameter_bytes(model: nn.Module) -> int:
    """4 bytes for every parameter.

    >>> from qtoolkit.lab import lenet_300_100
    >>> parameter_bytes(lenet_300_100())
    1066440
    """
    return 4 * sum(p.numel() for p in model.parameters())


class _Run:
    """One run of the recipe: the data, and how a network becomes a row."""

    def __init__(self):
        from qtoolkit.lab.data import mnist
        from qtoolkit.lab.deep_compression import training_images

        train, self.held_out = training_images()
        self.test = mnist("test")
        plain = pool_of(train.images, train.labels, None)
        self.dense = dense_network(plain)
        self.pool = taught_by(self.dense, plain)
        self.dense_bytes = parameter_bytes(self.dense)

    def row(self, model: nn.Module, nbytes: int, recipe: str) -> dict:
        from qtoolkit.lab.train import error_percent

        return {"bytes": nbytes, "ratio": round(self.dense_bytes / nbytes, 2), "held_out_percent": round(error_percent(model, self.held_out), 2),
                "test_percent": round(error_percent(model, self.test), 2), "recipe": recipe}


def _pruning_and_both(run: _Run) -> tuple[list[dict], list[dict], nn.Module]:
    """The chain of densities; from each point the same network with shared values. Also the network at the paper's densities."""
    pruning, both, model, papers = [], [], run.dense, run.dense
    for first in DENSITIES:
        model = pruned_once(model, first, run.pool)
        papers = model if first == 0.08 else papers
        pruning.append(run.row(model, pruned_bytes(model), f"{first:.0%} of the first layer kept, float32 values"))
        coded = shared_once(model, BOTH_BITS, run.pool)
        both.append(run.row(coded, file_bytes(coded), f"{first:.0%} of the first layer kept, {BOTH_BITS} bits a value"))
    return pruning, both, papers


def _sharing(run: _Run) -> list[dict]:
    rows, model = [], run.dense
    for bits in SHARED_BITS:
        model = shared_once(model, bits, run.pool, epochs=EPOCHS)
        rows.append(run.row(model, file_bytes(model, indexed=False), f"nothing pruned, {bits} bits a weight"))
    return rows


def _low_rank(run: _Run) -> list[dict]:
    rows, model = [], run.dense
    for density in LOW_RANK:
        thin = low_rank_once(model, density, run.pool)
        ranks = [layer[0].out_features for layer in thin if isinstance(layer, nn.Sequential)]
        rows.append(run.row(thin, parameter_bytes(thin), f"ranks {ranks[0]} and {ranks[1]}, float32 values"))
        model = multiplied(thin)
    return rows


def _starts(run: _Run, papers: nn.Module) -> list[dict]:
    """k-means at every width from three starts, on the network pruned to the paper's densities; before and after training the values."""
    ways = dict(zip(STARTS, (linear_init, density_init, ForgyInit(SEED)), strict=True))
    rows = []
    for bits in SWEEP_BITS:
        for name, init in ways.items():
            before, after = (shared_once(papers, bits, run.pool, epochs, init) for epochs in (0, CODE_EPOCHS))
            rows.append({"bits": bits, "start": name, "k_means_only": run.row(before, file_bytes(before), "")["held_out_percent"],
                         "values_trained": run.row(after, file_bytes(after), "")["held_out_percent"]})
    return rows


def _bits_by_kind(run: _Run) -> list[dict]:
    """LeNet-5 as shipped: k-means on the convolutions alone, on the dense layers alone; nothing trained, errors on the test digits."""
    from qtoolkit.lab.models import trained
    from qtoolkit.lab.train import error_percent

    kinds = {"convolutions": nn.Conv2d, "dense layers": nn.Linear}
    rows = []
    for bits in (8, 6, 4, 3, 2, 1):
        row = {"bits": bits}
        for name, kind in kinds.items():
            model = trained("lenet-5")
            chosen = {layer: bits for layer, module in weight_layers(model).items() if isinstance(module, kind)}
            row[name] = round(error_percent(share_(model, chosen), run.test), 2)
        rows.append(row)
    return rows


def reproduce() -> Path:
    """Train every point, one after another on one core (about five minutes), and write `compression-curves.json`."""
    started, threads = time.process_time(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = _Run()
        pruning, both, papers = _pruning_and_both(run)
        data = {
            "dense": run.row(run.dense, run.dense_bytes, "dense, float32"), "held_out_images": len(run.held_out),
            "curves": {"pruning": pruning, "quantization": _sharing(run), "both": both, "SVD": _low_rank(run)},
            "starts": _starts(run, papers), "bits_by_kind": _bits_by_kind(run),
            "epochs_a_point": EPOCHS, "processor_seconds": round(time.process_time() - started),
        }
    finally:
        torch.set_num_threads(threads)
    return results.record("compression-curves", data, seed=SEED)
