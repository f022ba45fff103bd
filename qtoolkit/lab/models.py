"""The networks of the course: the two of Deep Compression's MNIST experiments, and two that others trained."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from qtoolkit.lab.results import replace_file
from qtoolkit.lab.ways import sha256_of

WEIGHTS = Path(__file__).resolve().parent / "weights"
HASHES = WEIGHTS / "sha256.json"  # file name -> SHA-256, written by `qt reproduce lenets`


def lenet_300_100(seed: int = 0) -> nn.Sequential:
    """Three dense layers 784-300-100-10 with ReLU between: 266,610 parameters, untrained, initialized from `seed`.

    Images (N, 1, 28, 28) -> logits (N, 10).

    >>> sum(p.numel() for p in lenet_300_100().parameters())
    266610

    Source: LeCun et al. 1998, section III-C.4; Deep Compression, section 5.1.
    """
    with _seeded(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def lenet_5(seed: int = 0) -> nn.Sequential:
    """LeNet-5 in the shape that Caffe made common: 431,080 parameters, untrained, initialized from `seed`.

    Images (N, 1, 28, 28) -> 20 maps of 24 x 24 -> pooled to 12 x 12 -> 50 maps of 8 x 8 -> pooled to 4 x 4 -> 500 -> logits (N, 10).
    Caffe's own definition has a ReLU only after the first dense layer; here one follows each convolution too.

    >>> sum(p.numel() for p in lenet_5().parameters())
    431080

    Source: LeCun et al. 1998, section II-B; Deep Compression, section 5.1 and table 3 (layer sizes).
    """
    with _seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
        )


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {"lenet-300-100": lenet_300_100, "lenet-5": lenet_5}
PRETRAINED = {"efficientnet-lite0": "efficientnet", "minilm": "minilm"}  # name -> module of the lab with a function `load`


def trained(name: str) -> nn.Module:
    """A trained network of the course, in evaluation mode.

    'lenet-300-100' and 'lenet-5': digits (N, 1, 28, 28) -> logits (N, 10). Their weights come with the package (made by `qt reproduce lenets`
    on the 60,000 training digits, errors in `book/results/lenets.json`) and are verified by SHA-256.
    'efficientnet-lite0': photographs (N, 3, 224, 224) -> logits (N, 1000), see `lab.photos`. 'minilm': sentences -> unit vectors (N, 384), see
    `lab.tokens`. These two were trained by others and are fetched, verified by SHA-256, on first use.
    Raises ValueError for another name, RuntimeError for an altered file and DataUnavailable for one that cannot be had.

    >>> trained("lenet-300-100")[1]
    Linear(in_features=784, out_features=300, bias=True)
    """
    if name in PRETRAINED:
        return import_module(f"qtoolkit.lab.{PRETRAINED[name]}").load()
    if name not in NETWORKS:
        raise ValueError(f"no trained network {name!r}, expected one of: {', '.join([*NETWORKS, *PRETRAINED])}")
    from safetensors.torch import load_file

    path = WEIGHTS / f"{name}.safetensors"
    _verify(path)
    model = NETWORKS[name]()
    model.load_state_dict(load_file(path))
    return model.eval()


def save_trained(name: str, model: nn.Sequential, folder: Path = WEIGHTS) -> Path:
    """Write the weights of `model` as safetensors and note their hash beside them, each file in one step."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    path, hashes = folder / f"{name}.safetensors", folder / HASHES.name
    replace_file(path, save({key: value.detach().contiguous() for key, value in model.state_dict().items()}))
    known = json.loads(hashes.read_text()) if hashes.exists() else {}
    replace_file(hashes, (json.dumps(known | {path.name: sha256_of(path)}, indent=2, sort_keys=True) + "\n").encode())
    return path


def _verify(path: Path) -> None:
    expected = json.loads(HASHES.read_text()).get(path.name)
    if not path.exists() or expected != sha256_of(path):
        raise RuntimeError(f"{path.name} in qtoolkit/lab/weights is missing or altered (its SHA-256 is not the one noted in {HASHES.name}): "
                           "restore it from the repository, or train again with `qt reproduce lenets`")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Inside, torch draws from `seed`; outside, its global generator is as if nothing had happened."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
