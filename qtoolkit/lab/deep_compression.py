"""`qt reproduce deep-compression`: the smallest files of the two LeNets within an error, five seeds each; and
`qt reproduce deep-compression-shares`: the strict lines, and what each ingredient is worth.

Every choice was made on 5,000 held-out training images. The test images are read once, after the last file is written. The work is
cut into parts that a journal keeps, so it can be stopped and taken up again; parts that do not need one another run side by side.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from qtoolkit.compression import decompress, inspect
from qtoolkit.lab import results
from qtoolkit.lab.augment import STRONG, WEAK, Augmentation
from qtoolkit.lab.data import Digits, mnist, whole_mnist
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
    """One way to a file, and the test error in percent that it is meant to stay within.

    start: dense network trained on 'distorted' or 'plain' images; images: what compression trains on; teacher: two dense 'lenet-5', the 'own'
    dense network, or 'none' (labels alone).
    """

    network: str
    name: str
    limit: float
    stages: Stages
    start: str = "distorted"
    images: str = "distorted"
    teacher: str = "lenet-5"

    def __str__(self) -> str:
        return f"{self.network}, {self.name}, {self.limit} %"


DENSE = {  # epochs of the dense networks
    ("lenet-300-100", "distorted"): 30, ("lenet-5", "distorted"): 16, ("lenet-300-100", "plain"): 40, ("lenet-5", "plain"): 12,
}
THREE, ALL = "three stages", "all extensions"
_dense_layers = partial(Stages, epochs=45, finish=15, bits=(3, 3, 4), heard=True)
_convolutions = partial(Stages, epochs=30, finish=10, bits=(4, 4, 3, 3), heard=True)
_beyond = {"context": True, "bias_bits": 5}
_strict = {"start": "plain", "images": "plain", "teacher": "own"}
LINES = (
    Line("lenet-300-100", ALL, 1.58, _dense_layers((0.017, 0.042, 0.2), **_beyond)),
    Line("lenet-300-100", THREE, 1.58, _dense_layers((0.016, 0.042, 0.2))),
    Line("lenet-300-100", ALL, 1.9, _dense_layers((0.011, 0.035, 0.2), **_beyond)),
    Line("lenet-300-100", THREE, 1.9, _dense_layers((0.012, 0.037, 0.2))),
    Line("lenet-5", ALL, 0.74, _convolutions((0.5, 0.35, 0.1, 0.3), units={"0": 7, "3": 18, "7": 100}, **_beyond)),
    Line("lenet-5", THREE, 0.74, _convolutions((0.5, 0.35, 0.1, 0.3), units={"0": 8, "3": 20, "7": 120})),
    Line("lenet-5", ALL, 1.0, _convolutions((0.5, 0.3, 0.1, 0.3), units={"0": 5, "3": 12, "7": 64}, **_beyond)),
    Line("lenet-5", THREE, 1.0, _convolutions((0.5, 0.3, 0.1, 0.3), units={"0": 6, "3": 14, "7": 80})),
)
STRICT = (  # No distorted images, no teacher but the network itself: what the published records of 2016 to 2019 allowed themselves.
    Line("lenet-300-100", f"{ALL}, strict", 1.9, _dense_layers((0.02, 0.05, 0.25), **_beyond), **_strict),
    Line("lenet-300-100", f"{THREE}, strict", 1.9, _dense_layers((0.03, 0.06, 0.25)), **_strict),
    Line("lenet-5", f"{ALL}, strict", 1.0, _convolutions((0.5, 0.35, 0.1, 0.3), units={"0": 7, "3": 18, "7": 100}, **_beyond), **_strict),
    Line("lenet-5", f"{THREE}, strict", 1.0, _convolutions((0.5, 0.35, 0.1, 0.3), units={"0": 8, "3": 20, "7": 120}), **_strict),
)


def without(line: Line) -> tuple[Line, ...]:
    """The line with one ingredient left out at a time: what each is worth."""
    stages = line.stages
    changed = {
        "pruned at once": {"stages": replace(stages, gradual=False)}, "score |w|": {"stages": replace(stages, heard=False)},
        "labels alone": {"teacher": "none"}, "own teacher": {"teacher": "own"}, "plain images and own teacher": {"images": "plain", "teacher": "own"},
        "learned grid": {"stages": replace(stages, bits=(), levels=(3, 3, 7))}, "Huffman": {"stages": replace(stages, context=False)},
        "biases of 16 bits": {"stages": replace(stages, bias_bits=16)},
    }
    return tuple(replace(line, name=f"{line.name}, {name}", **change) for name, change in changed.items())


def split(digits: Digits) -> tuple[Digits, Digits]:
    """Training and held-out images: 5,000 of the 60,000, drawn once, are never trained on."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return digits[order[HELD_OUT:]], digits[order[:HELD_OUT]]


@cache
def training_images() -> tuple[Digits, Digits]:
    """`split` of MNIST. Raises RuntimeError when only the subset is there."""
    return split(whole_mnist("train"))


@cache
def pool(kind: Augmentation | None) -> Pool:
    """The training images, or ten distorted copies of them."""
    train, _ = training_images()
    return pool_of(train.images, train.labels, kind, seed=POOL_SEED)


# Parts, each kept by the journal -----------------------------------------------------------------------------------------------------


def dense(journal: Journal, network: str, start: str, seed: int) -> nn.Sequential:
    """The dense network that compression starts from."""
    model = NETWORKS[network](seed=seed)

    def train() -> dict:
        if start == "plain":
            digits, dropout = training_images()[0], (0.2, 0.3) if network == "lenet-300-100" else None
            fit(model, digits.inputs(), digits.labels, epochs=DENSE[network, start], seed=seed, dropout=dropout)
        else:
            retrain(model.to(memory_format=torch.channels_last), pool(STRONG), epochs=DENSE[network, start], lr=2e-3, seed=seed, what="dense")
        return model.state_dict()

    model.load_state_dict(journal.tensors(f"dense {network} {start} {seed}", train))
    return model.eval()


def taught(journal: Journal, line: Line, seed: int) -> Pool:
    """The images that a line trains on, with its teacher's answers."""
    images = pool(WEAK if line.images == "distorted" else None)
    if line.teacher == "none":
        return images
    if line.teacher == "own":
        return replace(images, answers=answers([dense(journal, line.network, line.start, seed)], images))
    return replace(images, answers=common_answers(journal))


def common_answers(journal: Journal) -> torch.Tensor:
    """What the teachers say about the distorted images."""
    def ask() -> dict:
        return {"logits": answers([dense(journal, "lenet-5", "distorted", seed) for seed in TEACHERS], pool(WEAK))}

    return journal.tensors("answers", ask)["logits"]


def one_file(journal: Journal, line: Line, seed: int) -> dict:
    """Write the file of one line and seed; return what it weighs and its error on the held-out images."""
    def make() -> dict:
        started, path = time.process_time(), journal.path(f"{line} {seed}", "qtdc")
        start = dense(journal, line.network, line.start, seed)
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


def deep_compression() -> Path:
    """Deep Compression on both LeNets: every file and its errors. Hours of one core; can be interrupted."""
    journal = _journal()
    data = {"held_out_images": HELD_OUT, "lines": _read_lines(journal, LINES)}
    for network in NETWORKS:
        _keep_best(journal, next(line for line in LINES if line.network == network))
    return results.record("deep-compression", data)


def shares() -> Path:
    """The strict lines, and the first line with one ingredient left out at a time. Hours of one core; can be interrupted."""
    journal, ablated = _journal(), without(LINES[0])
    _make(journal, [(line, SEEDS[0]) for line in ablated])
    data = {
        "lines": _read_lines(journal, STRICT),
        "left_out": [{"ingredient": line.name.split(", ")[-1], **one_file(journal, line, SEEDS[0])} for line in ablated],
    }
    return results.record("deep-compression-shares", data)


def _journal() -> Journal:
    return Journal("deep-compression", results.versions() | {"threads": 1})


def _make(journal: Journal, parts: list[tuple[Line, int]]) -> None:
    """Write the files of these lines and seeds, and all that they need."""
    needed = sorted({(line.network, line.start, seed) for line, seed in parts} | {("lenet-5", "distorted", seed) for seed in TEACHERS})
    _side_by_side("dense networks", [partial(dense, journal, *each) for each in needed])
    _side_by_side("teacher", [partial(common_answers, journal)])
    _side_by_side("files", [partial(one_file, journal, *part) for part in parts])


def _read_lines(journal: Journal, lines: tuple[Line, ...]) -> list[dict]:
    _make(journal, [(line, seed) for line in lines for seed in SEEDS])
    return [_read_test(journal, line) for line in lines]


def _read_test(journal: Journal, line: Line) -> dict:
    """The runs of a line with their errors on the test images, and the medians."""
    test, runs = mnist("test"), [one_file(journal, line, seed) for seed in SEEDS]
    for run in runs:
        path = journal.path(f"{line} {run['seed']}", "qtdc")
        run["layers"] = [layer.columns() for layer in inspect(path).layers]
        run["test_error_percent"] = error_percent(decompress(path), test)
        run["dense_test_error_percent"] = error_percent(dense(journal, line.network, line.start, run["seed"]), test)
    median = {f"median_{key}": statistics.median(run[key] for run in runs) for key in ("ratio", "test_error_percent", "bytes")}
    about = asdict(line)
    return {"line": about.pop("name"), "limit_percent": about.pop("limit"), **about, **median, "runs": runs}


def _keep_best(journal: Journal, line: Line) -> None:
    """The file that the book shows: the seed of least error on the held-out images."""
    best = min(SEEDS, key=lambda seed: (one_file(journal, line, seed)["held_out_percent"], seed))
    results.replace_file(results.RESULTS / f"{line.network}.qtdc", journal.path(f"{line} {best}", "qtdc").read_bytes())


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
