"""Pairs of weights in a plane: two scalar code books against one of vectors."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, checked_numbers, float_bytes, synced
from qtoolkit.quantizers import optimal_kmeans

PAIRS = 1200  # of each source that travel with the page, 10 kB
VIEW = 3.5  # the picture reaches so many root mean squares to either side


class VectorPlane(Widget):
    """A cloud of pairs with code words and their cells; controls: steps of vector k-means, number of code words, source of the pairs.

    sources: {name: (n, 2) pairs of real numbers}; name: what they are; total: numbers in the whole layer, over which the code book is
    shared out. Step 0 is the grid of the best scalar code books, one an axis; vector k-means starts from there, in the script. Raises
    TypeError or ValueError for pairs that are not real, finite and of shape (n, 2), and for a start that no control can reach.
    """

    module = "vector_plane.js"
    sources = synced(traitlets.List())
    name = synced(traitlets.Unicode())
    levels = synced(traitlets.List())
    pairs = synced(traitlets.Bytes())
    axes = synced(traitlets.Bytes())
    total = synced(traitlets.Int())
    reach = synced(traitlets.Float())
    start = synced(traitlets.Int())

    def __init__(self, sources: dict[str, Tensor], name: str, total: int, levels: tuple[int, ...] = (2, 3, 4, 5, 6), start: int = 4, seed: int = 0):
        if start not in levels or total < 1:
            raise ValueError(f"given start={start}, total={total}; expected one of {levels} and a positive number of weights")
        drawn = [_drawn(pairs, label, seed) for label, pairs in sources.items()]
        few = min(map(len, drawn))
        drawn = [pairs[:few] for pairs in drawn]
        tables = [axis_levels(pairs, n) for pairs in drawn for n in levels]
        super().__init__(sources=list(sources), name=name, levels=list(levels), pairs=float_bytes(torch.cat(drawn)),
                         axes=float_bytes(torch.cat([table.flatten() for table in tables])), total=total,
                         reach=VIEW * float(torch.cat(drawn).square().mean().sqrt()), start=start)


def axis_levels(pairs: Tensor, count: int) -> Tensor:
    """(2, count) the best scalar code book of each axis.

    >>> axis_levels(torch.tensor([[0.0, 5.0], [1.0, 5.0], [8.0, 7.0]]), 2)
    tensor([[0.5000, 8.0000],
            [5.0000, 7.0000]])
    """
    return optimal_kmeans(pairs.T.contiguous().sort(1).values, count).centroids.float()


def _drawn(pairs: Tensor, label: str, seed: int) -> Tensor:
    checked_numbers(pairs, label)
    if pairs.dim() != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{label} has shape {tuple(pairs.shape)}, expected (n, 2): one pair a row")
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))[:PAIRS]
    return pairs.detach().float()[order]
