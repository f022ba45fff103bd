"""A network that computes from its compressed weights: gaps and codes go from the file to the kernel, no dense weight is made.

    y_i = sum_{j: code_ij != 0} codebook[code_ij] x_j + b_i        (Han et al. 2016, EIE, equation 3)

Deep Compression saves storage; *EIE* (Han et al. 2016, "Efficient Inference Engine on Compressed Deep Neural Network", ISCA)
computes from the same form, so that memory traffic shrinks too. Here the processor does it: 2 bytes a kept weight.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtoolkit.compression import container, sections
from qtoolkit.compression.bodies import Budget
from qtoolkit.compression.container import MAX_DECODED_BYTES, Section
from qtoolkit.compression.kept import SharedKept
from qtoolkit.compression.pipeline import check_fit, described, read_tensors
from qtoolkit.kernels.conv_layer import window_positions
from qtoolkit.kernels.relative_sparse import ENTRIES, pack_places, relative_sparse_linear

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class SparseLinear(nn.Module):
    """y = x W^T + b with W as gaps and codes: x (..., in_features), result (..., out_features). For inference only.

    Source: Han, Mao and Dally 2016, section 4; Han et al. 2016 (EIE), equation 3.

    >>> weight = SharedKept((2, 3), torch.tensor([1, 5]), torch.tensor([1, 1]), torch.tensor([0.0, 2.0]))
    >>> SparseLinear(weight)(torch.tensor([1.0, 10.0, 100.0]))
    tensor([ 20., 200.])
    """

    def __init__(self, weight: SharedKept, bias: Tensor | None = None):
        super().__init__()
        self.out_features, self.in_features = weight.shape[0], math.prod(weight.shape[1:])
        self.register_buffer("layer", pack_places(weight.places, weight.codes, weight.codebook.float(), (self.out_features, self.in_features), bias))

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        return relative_sparse_linear(x, self.layer, self.out_features)

    def extra_repr(self) -> str:
        """Sizes, for print(model)."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bytes={self.layer.numel()}"


class SparseConv2d(SparseLinear):
    """A convolution without groups as `SparseLinear` of its patches: x (images, channels, height, width), zero padding."""

    def __init__(self, weight: SharedKept, bias: Tensor | None, conv: nn.Conv2d):
        super().__init__(weight, bias)
        self.window = dict(kernel_size=conv.kernel_size, dilation=conv.dilation, padding=conv.padding, stride=conv.stride)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution: every patch of the images is one row."""
        if x.dim() == 3:
            return self(x[None])[0]
        geometry = (self.window[name] for name in ("kernel_size", "stride", "padding", "dilation"))
        size = [window_positions(*axis) for axis in zip(x.shape[2:], *geometry)]
        rows = super().forward(F.unfold(x, **self.window).transpose(1, 2))
        return rows.transpose(1, 2).unflatten(2, size)


def load_sparse(path: str | Path, model: nn.Module | None = None, max_decoded_bytes: int = MAX_DECODED_BYTES) -> nn.Module:
    """The model in a file, in evaluation mode, its Linear and Conv2d layers computing from gaps and codes.

    What it computes is what `decompress(path, model)` computes, but for the rounding of float32 sums. A given `model` has its
    layers replaced; without one, no dense weight is made (a layer coded by context passes through one int32 code a weight).
    Layers that the kernel does not fit are decoded as usual: groups, other paddings than zeros, more than 255 shared values, float64.
    Raises what `decompress` raises, before anything is changed. Source: Han, Mao and Dally 2016, section 4; Han et al. 2016 (EIE).
    See: book/chapters/19-a-network-in-a-file.ipynb#fallacies-and-pitfalls

    >>> import tempfile
    >>> from qtoolkit.compression import LayerRecipe, Recipe, compress
    >>> path = tempfile.mkdtemp() + "/net.qtdc"
    >>> report = compress(nn.Sequential(nn.Linear(784, 300), nn.ReLU()), path, Recipe(LayerRecipe(density=0.1, bits=5)))
    >>> load_sparse(path)[0]
    SparseLinear(in_features=784, out_features=300, bytes=50532)
    """
    content = container.read(path, max_decoded_bytes)
    tensors = read_tensors(content, _decode)
    shapes = {name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in tensors.items()}
    built = model is None
    model = described(path, content, shapes) if built else model
    check_fit(path, shapes, model)
    layers = {name: _sparse(model.get_submodule(name), *_pop(tensors, name)) for name in _fitting(model, tensors)}
    if "" in layers:
        return layers[""].eval()
    for name, layer in layers.items():
        model.set_submodule(name, layer)
    rest = {name: t.dense() if isinstance(t, SharedKept) else t for name, t in tensors.items()}
    model.load_state_dict(rest | {f"{name}.layer": layer.layer for name, layer in layers.items()}, assign=built)
    return model.eval()


def _decode(section: Section, budget: Budget) -> Tensor | SharedKept:
    """A section as its nonzeros where it is coded that way, as a tensor otherwise."""
    if section.kind not in (sections.SHARED, sections.CONTEXT):
        return sections.decode(section, budget)
    shared = sections.open_section(section, budget)
    kept = shared.codes != 0
    integer = torch.int32 if math.prod(shared.shape) < 2**31 else torch.int64
    place = shared.gaps.cumsum(0, dtype=integer).sub_(1)[kept] if shared.index_bits else torch.nonzero(kept).flatten().to(integer)
    return SharedKept(shared.shape, place, shared.codes[kept].to(torch.int16), shared.codebook)


def _fitting(model: nn.Module, tensors: dict[str, Tensor | SharedKept]) -> list[str]:
    """Names of the layers that can compute from their nonzeros."""
    names = []
    for name, module in model.named_modules():
        weight, bias = (tensors.get(f"{name}.{part}".lstrip(".")) for part in ("weight", "bias"))
        plain = type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros" and isinstance(module.padding, tuple)
        if isinstance(weight, SharedKept) and (type(module) is nn.Linear or plain) and (bias is None or bias.isfinite().all()):
            if weight.dtype in _DTYPES and weight.codebook.numel() <= ENTRIES and math.prod(weight.shape) and weight.codebook.isfinite().all():
                names.append(name)
    return names


def _pop(tensors: dict[str, Tensor | SharedKept], name: str) -> tuple[SharedKept, Tensor | None]:
    """Weight and bias of a layer, taken out of `tensors`: what is packed needs no room twice."""
    return tensors.pop(f"{name}.weight".lstrip(".")), tensors.pop(f"{name}.bias".lstrip("."), None)


def _sparse(module: nn.Module, weight: SharedKept, bias: Tensor | None) -> SparseLinear:
    return SparseConv2d(weight, bias, module) if isinstance(module, nn.Conv2d) else SparseLinear(weight, bias)
