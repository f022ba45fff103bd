"""Weight sharing: each layer keeps a few values, and every weight a short code that says which (Deep Compression, stage 2).

k-means places the shared values (`share`), training then moves them with the summed gradient of their weights (`share_`).
Code 0 always means 0: a pruned weight, or a filler of the relative index. So b bits give 2^b - 1 shared weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from qtoolkit.compression.kept import PART, SharedKept, kept_places
from qtoolkit.compression.pruning import weight_layers
from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.codebook import midpoints
from qtoolkit.quantizers import kmeans, linear_init

Init = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class SharedWeight:
    """A weight as codes and codebook: W = codebook[codes]. codes: int16, shaped like W, 0 = pruned; codebook[0] = 0."""

    codes: Tensor
    codebook: Tensor

    def dense(self) -> Tensor:
        """codebook[codes]."""
        return self.codebook.index_select(0, self.codes.reshape(-1).to(torch.int32)).reshape(self.codes.shape)


def share(weight: Tensor, bits: int, init: Init = linear_init) -> SharedWeight:
    """Cluster the nonzero weights of one layer into at most 2^bits - 1 shared values by k-means; zeros stay zero.

        minimize sum_i sum_{w in c_i} (w - c_i)^2        (Han et al. 2016, equation 2)

    A weight with few enough distinct values already is taken as it is, exactly; values that no weight uses are dropped.
    `init` is `linear_init` (the paper's choice), `density_init` or `ForgyInit(seed)`. Raises ValueError for NaN, infinity, an
    empty tensor or bits outside 1..12.
    See: book/chapters/06-non-uniform-quantization.ipynb#k-means
    See: book/chapters/17-weight-sharing.ipynb#a-layer-of-few-values

    >>> shared = share(torch.tensor([0.0, 1.0, 1.2, 0.0, -3.0, 5.0]), bits=2)
    >>> shared.codes.tolist(), shared.codebook.tolist()
    ([0, 2, 2, 0, 1, 3], [0.0, -3.0, 1.100000023841858, 5.0])
    """
    _checks.bit_width(bits, largest=12)
    shared = share_kept(weight, kept_places(weight), bits, init)
    return SharedWeight(shared.all_codes(), shared.codebook)


def share_kept(weight: Tensor, places: Tensor, bits: int, init: Init = linear_init) -> SharedKept:
    """`share` of the weights at `places` of the flattened layer alone, all of them nonzero; the others are taken as 0."""
    kept, k = weight.detach().reshape(-1)[places], 2 ** _checks.bit_width(bits, largest=12) - 1
    if not kept.numel():
        return SharedKept(tuple(weight.shape), places, places.to(torch.int16), kept.new_zeros(1))
    distinct = _distinct(kept, k)
    centroids = distinct if distinct is not None else kmeans(kept.float()[None], k, init).centroids[0].to(kept.dtype)
    codes, count = torch.empty(kept.numel(), dtype=torch.int16), torch.zeros(centroids.numel(), dtype=torch.int64)
    for part, code in zip(kept.split(PART), codes.split(PART)):
        code.copy_(torch.bucketize(part, midpoints(centroids), right=True, out_int32=True))
        count += torch.bincount(code, minlength=centroids.numel())
    number = (count > 0).cumsum(0).to(torch.int16)          # from 1 on, counting only values that some weight uses
    for code in codes.split(PART):
        code.copy_(number[code.int()])
    return SharedKept(tuple(weight.shape), places, codes, torch.cat([centroids.new_zeros(1), centroids[count > 0]]))


def _distinct(values: Tensor, most: int) -> Tensor | None:
    """The distinct values, ascending, when there are at most `most`; most layers have more already among their first."""
    distinct = values[: 2 * most].unique()
    if distinct.numel() > most:
        return None
    for part in values.split(PART):
        distinct = torch.cat([distinct, part.unique()]).unique()
        if distinct.numel() > most:
            return None
    return distinct


def centroid_gradient(weight_gradient: Tensor, codes: Tensor, codebook_size: int) -> Tensor:
    """Gradient of every shared value: the *sum* over its weights, dL/dC_k = sum_ij dL/dW_ij [I_ij = k].

    Source: Han et al. 2016, equation 3. Not the mean: that would divide the step by the size of the cluster.
    See: book/chapters/15-vector-quantization.ipynb#codebook-distillation
    See: book/chapters/17-weight-sharing.ipynb#the-gradient-of-a-shared-value

    >>> centroid_gradient(torch.tensor([1.0, 2.0, 10.0]), torch.tensor([1, 1, 2]), codebook_size=3)
    tensor([ 0.,  3., 10.])
    """
    if weight_gradient.shape != codes.shape:
        raise ValueError(f"weight_gradient has shape {tuple(weight_gradient.shape)}, expected that of codes, {tuple(codes.shape)}")
    flat = _checks.code_tensor(codes).reshape(-1).to(torch.int32)
    return weight_gradient.new_zeros(codebook_size).index_add(0, flat, weight_gradient.reshape(-1))


class Lookup(nn.Module):
    """The parametrization W = concat(0, centroids)[codes]: autograd through it is equation 3, and pruned weights stay 0.

    Source: Han et al. 2016, equation 3.
    See: book/chapters/15-vector-quantization.ipynb#codebook-distillation
    See: book/chapters/17-weight-sharing.ipynb#the-gradient-of-a-shared-value
    """

    def __init__(self, shared: SharedWeight):
        super().__init__()
        self.register_buffer("codes", shared.codes.to(torch.int32))
        self._first = shared.codebook[1:]

    def forward(self, centroids: Tensor) -> Tensor:
        return SharedWeight(self.codes, torch.cat([centroids.new_zeros(1), centroids])).dense()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What takes the weight's place as the parameter: the centroids that k-means found."""
        return self._first.clone()


def share_(model: nn.Module, bits: int | Mapping[str, int], init: Init = linear_init) -> nn.Module:
    """Share the weights of every Linear and Conv layer in place; from now on training moves the centroids (and biases).

    Build the optimizer *after* this call: the layer's parameter is now the list of its centroids. `unshare_` ends it.
    See: book/chapters/17-weight-sharing.ipynb#what-training-the-values-recovers
    """
    layers = weight_layers(model)
    widths = bits if isinstance(bits, Mapping) else dict.fromkeys(layers, bits)
    if set(widths) - set(layers) or not widths:
        raise ValueError(f"bits are given for {sorted(widths)}, expected names among {list(layers)}")
    if twice := [name for name in widths if is_shared(layers[name])]:
        raise ValueError(f"the layers {twice} are shared already; call unshare_ first")
    for name, width in widths.items():
        lookup = Lookup(share(layers[name].weight, width, init))
        parametrize.register_parametrization(layers[name], "weight", lookup)
    return model


def unshare_(model: nn.Module) -> nn.Module:
    """Turn shared layers back into plain ones, in place; each weight keeps its shared value exactly."""
    for layer in weight_layers(model).values():
        if is_shared(layer):
            kind = type(layer)      # one class for a layer and all its copies; what leaves this one must stay in the others
            layer.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model


def is_shared(layer: nn.Module) -> bool:
    """Whether `share_` is in force for this layer."""
    return parametrize.is_parametrized(layer, "weight") and isinstance(layer.parametrizations.weight[0], Lookup)


def compression_rate(weights: int, clusters: int, bits: int = 32) -> float:
    """How much smaller codes and codebook are than n weights of b bits: r = n b / (n log2 k + k b) (Han et al. 2016, eq. 1).

    See: book/chapters/17-weight-sharing.ipynb#a-layer-of-few-values

    >>> compression_rate(weights=16, clusters=4)
    3.2
    """
    code = (_checks.positive_int(clusters, "clusters") - 1).bit_length()
    return _checks.positive_int(weights, "weights") * bits / (weights * code + clusters * bits)
