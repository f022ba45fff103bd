"""`qt reproduce deep-compression`: the smallest files of the two LeNets within an error, five seeds each.

Every choice was made on 5,000 held-out training images. The test images are read once, after the last file is written. The work is
cut into parts that a journal keeps, so it can be stopped and taken up again; parts that do not need one another run side by side.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from qtoolkit.compression import decompress
from qtoolkit.lab import results
from qtoolkit.lab.augment import STRONG, WEAK, Augmentation
from qtoolkit.lab.data import Digits, mnist
from qtoolkit.lab.journal import Journal
from qtoolkit.lab.models import NETWORKS
from qtoolkit.lab.progress import bar
from qtoolkit.lab.retrain import Pool, answers, pool_of, retrain
from qtoolkit.lab.stages import Stages, compressed
from qtoolkit.lab.train import error_percent, fit

HELD_OUT, SPLIT_SEED, POOL_SEED = 5000, 2016, 100
SEEDS = (0, 1, 2, 3, 4)
TEACHERS = (0, 1)  # dense LeNet-5 networks of these seeds answer together


@dataclass(frozen=True)
class Line:
    """One way to a file. limit: the test error in percent that it is meant to stay within. strict: no distorted copies of the images, and no
    teacher but the dense network it starts from.
    """

    network: str
    name: str
    limit: float
    stages: Stages
    strict: bool = False

    def __str__(self) -> str:
        return f"{self.network}, {self.name}, {self.limit} %"


DENSE = {  # epochs of the dense networks
    ("lenet-300-100", False): 30, ("lenet-5", False): 16, ("lenet-300-100", True): 40, ("lenet-5", True): 12,
}
THREE, ALL, STRICT_THREE, STRICT_ALL = "three stages", "all extensions", "three stages, strict", "all extensions, strict"

_DENSE_LAYERS = partial(Stages, epochs=45, finish=15, bits=(3, 3, 4), heard=True)
_WITH_CONVOLUTIONS = partial(Stages, epochs=30, finish=10, bits=(5, 4, 3, 3), heard=True)
LINES = (
    Line("lenet-300-100", ALL, 1.58, _DENSE_LAYERS((0.015, 0.04, 0.2), context=True, bias_bits=5)),
    Line("lenet-300-100", THREE, 1.58, _DENSE_LAYERS((0.016, 0.042, 0.2))),
    Line("lenet-300-100", ALL, 1.9, _DENSE_LAYERS((0.011, 0.035, 0.2), context=True, bias_bits=5)),
    Line("lenet-300-100", THREE, 1.9, _DENSE_LAYERS((0.012, 0.037, 0.2))),
)


def split(digits: Digits) -> tuple[Digits, Digits]:
    """Training and held-out images: 5,000 of the 60,000, drawn once, are never trained on."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return digits[order[HELD_OUT:]], digits[order[:HELD_OUT]]


@cache
def training_images() -> tuple[Digits, Digits]:
    """`split` of MNIST. Raises RuntimeError when only the subset is there."""
    digits = mnist("train")
    if len(digits) != 60_000:
        raise RuntimeError("this result needs the whole of MNIST, not the subset: see `qt doctor`")
    return split(digits)


@cache
def pool(kind: Augmentation | None) -> Pool:
    """The training images, or ten distorted copies of them."""
    train, _ = training_images()
    return pool_of(train.images, train.labels, kind, seed=POOL_SEED)


# Parts, each kept by the journal -----------------------------------------------------------------------------------------------------


def dense(journal: Journal, network: str, seed: int, strict: bool) -> nn.Sequential:
    """The dense network that compression starts from."""
    model = NETWORKS[network](seed=seed)

    def train() -> dict:
        epochs = DENSE[network, strict]
        if strict:
            images, _ = training_images()
            fit(model, images.inputs(), images.labels, epochs=epochs, seed=seed, dropout=(0.2, 0.3) if network == "lenet-300-100" else None)
        else:
            retrain(model.to(memory_format=torch.channels_last), pool(STRONG), epochs=epochs, lr=2e-3, seed=seed, what="dense")
        return model.state_dict()

    model.load_state_dict(journal.tensors(f"dense {network} {seed} {'strict' if strict else 'ours'}", train))
    return model.eval()


def taught(journal: Journal, line: Line, seed: int) -> Pool:
    """The images that a line trains on, with its teacher's answers."""
    images = pool(None if line.strict else WEAK)
    if line.strict:
        return Pool(images.images, images.labels, answers([dense(journal, line.network, seed, True)], images))
    return Pool(images.images, images.labels, _common_answers(journal))


def _common_answers(journal: Journal) -> torch.Tensor:
    def ask() -> dict:
        return {"logits": answers([dense(journal, "lenet-5", seed, False) for seed in TEACHERS], pool(WEAK))}

    return journal.tensors("answers", ask)["logits"]


def one_file(journal: Journal, line: Line, seed: int) -> dict:
    """Write the file of one line and seed; return what it weighs and its error on the held-out images."""
    def make() -> dict:
        started, path = time.process_time(), journal.path(f"{line} {seed}", "qtdc")
        start, _ = dense(journal, line.network, seed, line.strict), None
        report = compressed(start, line.stages, taught(journal, line, seed), seed, path)
        held_out = training_images()[1]
        return {
            "seed": seed, "bytes": report.bytes, "ratio": round(report.ratio, 2), "dense_held_out_percent": error_percent(start, held_out),
            "held_out_percent": error_percent(decompress(path), held_out), "kept": sum(layer.kept for layer in report.layers),
            "layers": [{"name": layer.name, "kept": layer.kept, "bytes": layer.bytes} for layer in report.layers],
            "cpu_seconds": round(time.process_time() - started),
        }

    return journal.once(f"{line} {seed}", make)


# The whole ---------------------------------------------------------------------------------------------------------------------------


def deep_compression(lines: Iterable[Line] = LINES) -> Path:
    """Make every file, read the test images, write deep-compression.json and the best file of each network. Hours of one core in all."""
    journal, lines = Journal("deep-compression", results.versions() | {"threads": 1}), list(lines)
    needed = sorted({(line.network, seed, line.strict) for line in lines for seed in SEEDS} | {("lenet-5", seed, False) for seed in TEACHERS})
    _side_by_side("dense networks", [partial(dense, journal, *each) for each in needed])
    _side_by_side("teacher", [partial(_common_answers, journal)])
    _side_by_side("files", [partial(one_file, journal, line, seed) for line in lines for seed in SEEDS])
    measured = [_line_result(journal, line) for line in lines]
    for network in NETWORKS:
        _keep_best(journal, network, lines)
    return results.record("deep-compression", {"lines": measured, "held_out_images": HELD_OUT})


def _line_result(journal: Journal, line: Line) -> dict:
    test = mnist("test")
    runs = [one_file(journal, line, seed) for seed in SEEDS]
    for run in runs:
        run["test_error_percent"] = error_percent(decompress(journal.path(f"{line} {run['seed']}", "qtdc")), test)
        run["dense_test_error_percent"] = error_percent(dense(journal, line.network, run["seed"], line.strict), test)
    median = {f"median_{key}": statistics.median(run[key] for run in runs) for key in ("ratio", "test_error_percent", "bytes")}
    return {"network": line.network, "line": line.name, "limit_percent": line.limit, "strict": line.strict, **median,
            "stages": asdict(line.stages), "runs": runs}


def _keep_best(journal: Journal, network: str, lines: list[Line]) -> None:
    """The file that the book shows: of the first line with all extensions, the seed of least held-out error."""
    line = next((line for line in lines if (line.network, line.name) == (network, ALL)), None)
    if line:
        best = min(SEEDS, key=lambda seed: (one_file(journal, line, seed)["held_out_percent"], seed))
        results.replace_file(results.RESULTS / f"{network}.qtdc", journal.path(f"{line} {best}", "qtdc").read_bytes())


def _side_by_side(what: str, parts: list[Callable]) -> None:
    """Run the parts in as many processes as there are cores, one thread each. Ctrl-C stops them; finished parts are kept."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(cores, len(parts)), multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as workers:
        waiting = [workers.submit(part) for part in parts]
        try:
            for done in bar(as_completed(waiting), what=what, total=len(parts)):
                done.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise
