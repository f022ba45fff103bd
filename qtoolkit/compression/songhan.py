"""The authors' own compressed networks: `AlexNet_compressed.net` and `compressed_SqueezeNet.net`, as Song Han published them.

    u32 x layers    entries of each layer, fillers included
    then, layer after layer:
    float32 x K     codebook: 256 values for a convolution (8-bit codes), 16 for a fully connected layer (4-bit codes)
    float32 x n     biases
    codes           8 bits each, or 4 (two a byte, low half first); code 0 is the zero that fillers carry
    gaps            4 bits each in every layer, two a byte, low half first, stored as gap - 1

Little-endian, no header, no Huffman coding; layer shapes are not in the file and come from a given model. Layout as read by
`decode.py` of github.com/songhan/Deep-Compression-AlexNet and of github.com/songhan/SqueezeNet-Deep-Compression.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from qtoolkit.compression.container import BadFile, Reader
from qtoolkit.compression.pruning import weight_layers
from qtoolkit.compression.sparse_index import positions
from qtoolkit.quantizers.packing import unpack

_INDEX_BITS = 4
WHERE = "download AlexNet_compressed.net from github.com/songhan/Deep-Compression-AlexNet and give its path"


def read_songhan(path: str | Path, model: nn.Module) -> dict[str, Tensor]:
    """Weights and biases of the authors' file, named and shaped like those of `model`'s Linear and Conv layers, in order.

    Raises BadFile when the file is not exactly as long as these layers demand, or an index leaves its layer.
    """
    reader, layers = Reader(_bytes_of(Path(path)), str(path)), weight_layers(model)
    if not layers or any(layer.bias is None for layer in layers.values()):
        raise ValueError(f"the model has the Linear and Conv layers {list(layers)}, expected some, all with biases (as in Caffe)")
    entries = [reader.unsigned(4) for _ in layers]
    state = {}
    for count, (name, layer) in zip(entries, layers.items()):
        prefix = f"{name}." if name else ""
        state[f"{prefix}weight"], state[f"{prefix}bias"] = _read_layer(reader, layer, count, name)
    reader.finish()
    return state


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise type(error)(f"{path} cannot be read ({error.strerror}), expected the authors' file: {WHERE}") from None


def _read_layer(reader: Reader, layer: nn.Module, entries: int, name: str) -> tuple[Tensor, Tensor]:
    bits = 4 if isinstance(layer, nn.Linear) else 8
    codebook, bias = _floats(reader, 2**bits), _floats(reader, layer.bias.numel())
    codes, gaps = _codes(reader, bits, entries), _codes(reader, _INDEX_BITS, entries) + 1
    place = positions(gaps)
    if entries and int(place[-1]) >= layer.weight.numel():
        raise BadFile(f"{reader.what}: layer '{name}' has an index of {int(place[-1])} in {layer.weight.numel()} weights; "
                      "the file is damaged or belongs to another network")
    flat = torch.full((layer.weight.numel(),), float(codebook[0]))
    flat[place] = codebook[codes]
    return flat.reshape(layer.weight.shape), bias


def _floats(reader: Reader, count: int) -> Tensor:
    values = torch.frombuffer(bytearray(reader.take(4 * count)), dtype=torch.float32)
    if not values.isfinite().all():
        raise BadFile(f"{reader.what} holds NaN or infinity where values were expected; it is damaged or belongs to another network")
    return values


def _codes(reader: Reader, bits: int, count: int) -> Tensor:
    """`count` codes; half a byte at the end may be unused and is ignored, as the authors' reader does."""
    raw = reader.take(-(-count * bits // 8))
    slots = len(raw) * 8 // bits
    return unpack(torch.frombuffer(bytearray(raw), dtype=torch.uint8), bits, slots)[:count].long() if count else torch.empty(0, dtype=torch.long)


def import_songhan(path: str | Path, model: nn.Module) -> nn.Module:
    """Load the authors' file into `model`, in place; nothing is changed when the file does not fit. `compress` then writes ours."""
    model.load_state_dict(read_songhan(path, model), strict=False)
    return model.eval()


def caffe_alexnet() -> nn.Sequential:
    """AlexNet as Caffe defines it and the authors compressed it (torchvision's is another network): 60,965,224 parameters.

    Images (N, 3, 227, 227) in BGR order, mean subtracted -> logits (N, 1000).
    """
    conv, relu = nn.Conv2d, nn.ReLU
    return nn.Sequential(
        conv(3, 96, 11, stride=4), relu(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
        conv(96, 256, 5, padding=2, groups=2), relu(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
        conv(256, 384, 3, padding=1), relu(), conv(384, 384, 3, padding=1, groups=2), relu(),
        conv(384, 256, 3, padding=1, groups=2), relu(), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(9216, 4096), relu(), nn.Dropout(), nn.Linear(4096, 4096), relu(), nn.Dropout(), nn.Linear(4096, 1000))
