"""The whole pipeline: a model becomes one file, the file becomes the model again (Deep Compression, all three stages).

    report = compress(model, "net.qtdc", recipe)      prune, share, index, Huffman code, write
    model  = decompress("net.qtdc")                    bit for bit what was written
    report = inspect("net.qtdc")                       the paper's columns, read from the file itself

`compress` does in one shot whatever a model still needs: a layer that is pruned or shared already (by `prune_` and `share_`,
with training in between, as accuracy demands) is stored exactly as it is, if the codebook is stored as float32.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from qtoolkit.compression import architecture, container, sections
from qtoolkit.compression.bodies import Budget, encode_dense, encode_uniform, narrowed
from qtoolkit.compression.container import MAX_DECODED_BYTES, BadFile, Container, Section
from qtoolkit.compression.kept import SharedKept, kept_places
from qtoolkit.compression.pruning import weight_layers
from qtoolkit.compression.report import Report, report_of
from qtoolkit.compression.weight_sharing import Init, is_shared, share_kept, unshare_
from qtoolkit.quantizers import linear_init


@dataclass(frozen=True)
class LayerRecipe:
    """Deep Compression of one layer. density: fraction kept, None for as it is; bits of a weight code; bits of a gap (0: no index)."""

    density: float | None = None
    bits: int = 5
    index_bits: int = 5

    def section(self, name: str, shared: SharedKept, stored: torch.dtype, huffman: bool) -> Section:
        """The layer as relative index and codes, each Huffman coded."""
        return Section(sections.SHARED, name, sections.encode_kept(shared, self.index_bits, stored, huffman))


@dataclass(frozen=True)
class ContextRecipe:
    """One layer beyond Huffman: places and codes in one adaptive arithmetic stream. Smaller, and slow (about 7 us a weight).

    density and bits as in `LayerRecipe`; neighbor: distance of a second neighbor in a row (28 for the first layer on digits).
    """

    density: float | None = None
    bits: int = 3
    neighbor: int = 0

    def section(self, name: str, shared: SharedKept, stored: torch.dtype, huffman: bool) -> Section:
        """The layer as one arithmetic stream."""
        return Section(sections.CONTEXT, name, sections.encode_context(shared.all_codes(), shared.codebook, self.neighbor, stored))


@dataclass(frozen=True)
class Recipe:
    """How a model is compressed: a default for its Linear and Conv layers, exceptions by layer name, and how the rest is kept.

    codebook: dtype of stored shared values (float32 or float16). bias_bits: 32 or 16 (floats), 2..15 (a uniform grid).
    """

    default: LayerRecipe | ContextRecipe = LayerRecipe()
    layers: Mapping[str, LayerRecipe | ContextRecipe] = field(default_factory=dict)
    codebook: torch.dtype = torch.float32
    bias_bits: int = 32
    huffman: bool = True
    init: Init = linear_init


# Densities and bits of the paper's tables 2 to 5, in the order of the layers; index bits as in the tables.
_PAPER = {
    "lenet-300-100": ((0.08, 0.09, 0.26), (6, 6, 6), 5),
    "lenet-5": ((0.66, 0.12, 0.08, 0.19), (8, 8, 5, 5), 5),
    "alexnet": ((0.84, 0.38, 0.35, 0.37, 0.37, 0.09, 0.09, 0.25), (8,) * 5 + (5,) * 3, 4),
    "vgg-16": ((0.58, 0.22, 0.34, 0.36, 0.53, 0.24, 0.42, 0.32, 0.27, 0.34, 0.35, 0.29, 0.36, 0.04, 0.04, 0.23), (8,) * 13 + (5,) * 3, 5),
}


def paper_recipe(network: str, model: nn.Module, whole: bool = True) -> Recipe:
    """The densities, weight bits and index bits that the paper prints for one of its four networks (Han et al. 2016, tables 2 to 5).

    A model that is not `whole` has only the first of the network's layers, as its convolutions without the dense ones.
    Raises ValueError for another network, or a model with another number of Linear and Conv layers.
    See: book/chapters/20-the-paper-audited.ipynb#our-network-at-the-papers-densities
    """
    if network not in _PAPER:
        raise ValueError(f"network is {network!r}, expected one of {', '.join(_PAPER)}")
    densities, bits, index_bits = _PAPER[network]
    names = list(weight_layers(model))
    if len(names) != len(densities) and (whole or not 0 < len(names) < len(densities)):
        raise ValueError(f"the model has {len(names)} Linear and Conv layers, expected {'the' if whole else 'at most the'} {len(densities)} of {network}")
    return Recipe(layers={name: LayerRecipe(d, b, index_bits) for name, d, b in zip(names, densities, bits)})


def compress(model: nn.Module, path: str | Path, recipe: Recipe = Recipe(), progress: Callable[[str], None] | None = None) -> Report:
    """Write `model` to one file, pruned, shared and entropy coded by `recipe`; the model itself stays as it is.

    Everything in its state_dict is in the file (biases, batch norms, buffers), and what decodes is what `inspect` describes. The
    report's `bytes` is the length of the file. `progress(layer name)` is called before each layer. Raises ValueError for NaN or
    infinite weights, a model without Linear or Conv layers, or a recipe for layers that are not there.

    See: book/chapters/19-a-network-in-a-file.ipynb#the-run
    See: book/chapters/19-a-network-in-a-file.ipynb#the-file-byte-by-byte
    """
    plain = unshare_(copy.deepcopy(model)) if any(map(is_shared, weight_layers(model).values())) else model
    layers = {f"{name}.weight".lstrip("."): recipe.layers.get(name, recipe.default) for name in weight_layers(plain)}
    if not layers or set(recipe.layers) - set(weight_layers(plain)):
        raise ValueError(f"the recipe names {sorted(recipe.layers)}, the model has the Linear and Conv layers {list(weight_layers(plain))}")
    parts, decoded = [], 0
    for name, tensor in plain.state_dict().items():
        if progress:
            progress(name)
        parts.append(_layer_section(name, tensor, layers[name], recipe) if name in layers else _other_section(name, tensor, recipe))
        decoded += tensor.nbytes
    description = architecture.describe(plain)
    head = [] if description is None else [Section(sections.ARCHITECTURE, "", description)]
    container.write(path, Container(head + parts, decoded))
    return inspect(path)


def _layer_section(name: str, weight: Tensor, layer: LayerRecipe | ContextRecipe, recipe: Recipe) -> Section:
    try:
        shared = share_kept(weight, kept_places(weight, layer.density), layer.bits, recipe.init)
        stored = min(recipe.codebook, weight.dtype, key=lambda dtype: dtype.itemsize)
        if stored != weight.dtype and sections.grid_step(shared.codebook) is None:
            shared = shared.revalued(narrowed(shared.codebook, stored).to(weight.dtype))
        return layer.section(name, shared, stored, recipe.huffman)
    except (TypeError, ValueError) as error:
        raise type(error)(f"'{name}': {error}") from None


def _other_section(name: str, tensor: Tensor, recipe: Recipe) -> Section:
    if name.rpartition(".")[2] != "bias" or recipe.bias_bits == 32 or not tensor.is_floating_point() or not tensor.numel():
        return Section(sections.DENSE, name, encode_dense(tensor))
    if recipe.bias_bits == 16:
        return Section(sections.DENSE, name, encode_dense(tensor, torch.float16))
    return Section(sections.UNIFORM, name, encode_uniform(tensor, recipe.bias_bits))


def decompress(path: str | Path, model: nn.Module | None = None, max_decoded_bytes: int = MAX_DECODED_BYTES) -> nn.Module:
    """The model in a file, in evaluation mode: a new one, or `model` with its tensors replaced.

    Raises BadFile, before anything is changed, for a file that is damaged, cut short, hostile, of a newer version, or made from
    another network; ValueError when the file has no description of its network and no `model` is given.

    See: book/chapters/19-a-network-in-a-file.ipynb#the-run
    See: book/chapters/19-a-network-in-a-file.ipynb#the-file-byte-by-byte
    """
    content = container.read(path, max_decoded_bytes)
    tensors = read_tensors(content)
    built = model is None
    model = described(path, content, tensors) if built else model
    check_fit(path, tensors, model)
    model.load_state_dict(tensors, assign=built)
    return model.eval()


def described(path: str | Path, content: Container, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network that a file describes, on the meta device. Raises ValueError if it describes none, BadFile for a damaged description."""
    description = next((s.body for s in content.sections if s.kind == sections.ARCHITECTURE), None)
    if description is None:
        raise ValueError(f"{path} holds tensors but no description of its network, expected model=...; give the network they belong to")
    return architecture.build(description, {name: tuple(t.shape) for name, t in tensors.items()})


def read_tensors(content: Container, decode: Callable[[Section, Budget], object] = sections.decode) -> dict:
    """Every tensor of a file by name, as `decode` makes it; together exactly the bytes that the header announced."""
    budget, tensors = Budget(content.decoded_bytes), {}
    for section in content.sections:
        if section.kind == sections.ARCHITECTURE:
            continue
        if section.name in tensors:
            raise BadFile(f"two sections are named '{section.name}'; the file is damaged")
        tensors[section.name] = decode(section, budget)
    if budget.left:
        raise BadFile(f"the header announces {budget.left} bytes that no section holds; the file is damaged")
    return tensors


def check_fit(path: str | Path, tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raise BadFile unless names, shapes and dtypes of `tensors` are those of the model's state_dict."""
    state = model.state_dict()
    if missing := set(state) ^ set(tensors):
        raise BadFile(f"{path} was made from another network: {sorted(missing)[:3]} are in only one of file and model")
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape or tensor.dtype != state[name].dtype:
            raise BadFile(f"{path} was made from another network: '{name}' is {tensor.dtype} {tuple(tensor.shape)} in the file, "
                          f"{state[name].dtype} {tuple(state[name].shape)} in the model")


def inspect(path: str | Path, max_decoded_bytes: int = MAX_DECODED_BYTES) -> Report:
    """What a file holds, in the paper's columns, read from the file alone (no weights are rebuilt). Raises BadFile.

    See: book/chapters/19-a-network-in-a-file.ipynb#the-run
    """
    return report_of(container.read(path, max_decoded_bytes), Path(path).stat().st_size)


@torch.no_grad()
def evaluate(path: str | Path, inputs: Tensor, labels: Tensor, model: nn.Module | None = None, batch_size: int = 1000) -> float:
    """Error in percent of the model decoded from a file on `inputs` (N, ...) and `labels` (N,)."""
    if len(inputs) != len(labels) or not len(labels):
        raise ValueError(f"there are {len(inputs)} inputs and {len(labels)} labels, expected as many of both, and some")
    model = decompress(path, model)
    wrong = sum(int((model(x).argmax(1) != y).sum()) for x, y in zip(inputs.split(batch_size), labels.split(batch_size)))
    return 100 * wrong / len(labels)


def evaluated(path: str | Path, inputs: Tensor, labels: Tensor, model: nn.Module | None = None) -> Report:
    """The report of a file with its `error_percent` measured: what `qt evaluate` prints."""
    return replace(inspect(path), error_percent=evaluate(path, inputs, labels, model))
