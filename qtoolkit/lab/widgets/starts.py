"""Where k-means starts: the centroids of a real layer on their way, and what the whole network reads with them."""

import copy
from collections.abc import Callable, Mapping

import torch
import traitlets
from torch import Tensor, nn

from qtoolkit.compression.pruning import weight_layers
from qtoolkit.lab.data import Digits
from qtoolkit.lab.train import misread
from qtoolkit.lab.widgets.base import Widget, float_bytes, synced
from qtoolkit.quantizers import Codebook, kmeans

BINS = 90
Init = Callable[[Tensor, int], Tensor]


def settled(model: nn.Module, bits: int, init: Init, steps: int) -> nn.Module:
    """A copy whose nonzero weights are their nearest centroids after so many steps of k-means; 0 steps: of the start itself.

    Each layer has 2^bits - 1 centroids of its own, as in `share`, which is this with 300 steps.
    See: book/chapters/17-weight-sharing.ipynb#where-k-means-starts
    """
    model, k = copy.deepcopy(model), 2**bits - 1
    for layer in weight_layers(model).values():
        weight = layer.weight.data
        kept = weight[weight != 0]
        rows = kept.sort().values[None]
        centroids = kmeans(rows, k, init, steps=steps).centroids if steps else init(rows, k).float()
        weight[weight != 0] = Codebook(centroids.unique()).fake(kept)
    return model


class KMeansStarts(Widget):
    """Centroids under a layer's histogram and the network's error, from every start; controls: steps of k-means, bits, start.

    starts: {name: init}; layer: the one that is drawn. Every network is measured here, on all `digits`, its values not trained: as many as
    there are starts, widths and steps. `errors[bits][name]` lists the percent wrong after each of `steps`. The model stays as it is.
    Raises ValueError for no starts and for widths or steps that are not ascending.
    """

    module = "kmeans_starts.js"
    starts = synced(traitlets.List())
    widths = synced(traitlets.List())
    steps = synced(traitlets.List())
    centroids = synced(traitlets.Bytes())   # width by width, start by start, step by step: 2^bits - 1 numbers
    wrong = synced(traitlets.List())        # [width][start][step] digits misread
    total = synced(traitlets.Int())
    edges = synced(traitlets.List())
    counts = synced(traitlets.List())
    name = synced(traitlets.Unicode())

    def __init__(self, model: nn.Module, starts: Mapping[str, Init], digits: Digits, layer: str, name: str = "the layer",
                 widths: tuple[int, ...] = (2, 3, 4), steps: tuple[int, ...] = (0, 1, 3, 10, 300)):
        if not starts or list(widths) != sorted(set(widths)) or list(steps) != sorted(set(steps)) or not widths or not steps:
            raise ValueError(f"given starts {list(starts)}, widths {widths}, steps {steps}; expected at least one start, and ascending widths and steps")
        networks = {(b, start, n): settled(model, b, init, n) for b in widths for start, init in starts.items() for n in steps}
        wrong = [[[misread(networks[b, start, n], digits) for n in steps] for start in starts] for b in widths]
        self.errors = {b: {start: [100 * count / len(digits) for count in line] for start, line in zip(starts, lines)} for b, lines in zip(widths, wrong)}
        kept = weight_layers(model)[layer].weight.detach().flatten()
        kept = kept[kept != 0]
        lo, hi = kept.aminmax()
        super().__init__(
            starts=list(starts), widths=list(widths), steps=list(steps), total=len(digits), name=name,
            centroids=float_bytes(torch.cat([_centroids(network, layer, 2**b - 1) for (b, _, _), network in networks.items()])),
            wrong=wrong,
            edges=torch.linspace(float(lo), float(hi), BINS + 1).tolist(), counts=torch.histc(kept, BINS, float(lo), float(hi)).int().tolist())


def _centroids(network: nn.Module, layer: str, k: int) -> Tensor:
    """(k,) the layer's values, ascending; the last is repeated where some are not in use."""
    weight = weight_layers(network)[layer].weight.detach()
    values = weight[weight != 0].unique()
    return torch.cat([values, values[-1:].expand(k - len(values))])
