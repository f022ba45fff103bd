"""Code books under the numbers that they stand for: the levels of every grid, and k-means on its way."""

from collections.abc import Callable

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, checked_numbers, float_bytes, synced
from qtoolkit.lab.widgets.number_line import Sketched, sketch
from qtoolkit.quantizers import Affine, Codebook, ForgyInit, density_init, dequantize, linear_init, midpoints, optimal_kmeans

TAIL, INNER = 64, 640  # numbers of each source that travel with the page: the outermost, and quantiles of those between
VIEW = 5.0  # the picture reaches so many root mean squares to either side
STARTS = {"linear": linear_init, "density": density_init, "Forgy": ForgyInit(seed=0)}


class GridLevels(Widget):
    """Levels and cells of a grid under a histogram, and the error of all grids; controls: grid, bits, numbers.

    sources: {name: numbers of any shape}, each divided by its root mean square; grids: {name: fit}, where fit(x, bits) gives an Affine
    or a Codebook with one table for all of x. The script recomputes errors and shares from `sketch(x)`. Raises TypeError or ValueError
    for numbers that are not real and finite, a grid with several tables and settings that no control can reach.
    """

    module = "grid_levels.js"
    sources = synced(traitlets.List())
    grids = synced(traitlets.List())
    widths = synced(traitlets.List())
    values = synced(traitlets.Bytes())
    lengths = synced(traitlets.List())
    inners = synced(traitlets.List())
    tail = synced(traitlets.Int())
    edges = synced(traitlets.List())
    counts = synced(traitlets.List())
    totals = synced(traitlets.List())
    tables = synced(traitlets.Bytes())
    sizes = synced(traitlets.List())
    grid = synced(traitlets.Int())
    bits = synced(traitlets.Int())
    source = synced(traitlets.Int())

    def __init__(self, sources: dict[str, Tensor], grids: dict[str, Callable], widths: tuple[int, ...] = (2, 3, 4, 5),
                 grid: str = "", bits: int = 4, source: str = ""):
        if bits not in widths or grid and grid not in grids or source and source not in sources:
            raise ValueError(f"given bits={bits}, grid={grid!r}, source={source!r}; expected bits of {widths}, a name of grids and of sources")
        numbers = [_unit(checked_numbers(x, name)) for name, x in sources.items()]
        few = [sketch(x, TAIL, INNER) for x in numbers]
        tables = [one_table(fit(x, b)) for x in numbers for b in widths for fit in grids.values()]
        super().__init__(
            sources=list(sources), grids=list(grids), widths=list(widths), values=float_bytes(torch.cat([x for x, _ in few])),
            lengths=[len(x) for x, _ in few], inners=[inner for _, inner in few], tail=TAIL,
            edges=torch.linspace(-VIEW, VIEW, 81).tolist(), counts=[torch.histc(x, 80, -VIEW, VIEW).int().tolist() for x in numbers],
            totals=[x.numel() for x in numbers], tables=float_bytes(torch.cat([torch.cat(table) for table in tables])),
            sizes=[len(levels) for levels, _ in tables], grid=list(grids).index(grid) if grid else 0, bits=bits,
            source=list(sources).index(source) if source else 0)


class KMeansSettles(Sketched):
    """k-means step by step from three starts, beside the exact optimum; controls: steps, number of centroids, start.

    x: any shape, real. The script runs Lloyd's algorithm itself, on `sketch(x)`; the starts and the best centroids come from torch.
    Raises TypeError or ValueError for an x that is not real, empty or not finite, and for bits that no control can reach.
    """

    module = "kmeans_settles.js"
    starts = synced(traitlets.List())
    widths = synced(traitlets.List())
    tables = synced(traitlets.Bytes())
    bits = synced(traitlets.Int())

    def __init__(self, x: Tensor, name: str = "the numbers", bits: int = 3, widths: tuple[int, ...] = (1, 2, 3, 4, 5)):
        if bits not in widths:
            raise ValueError(f"given bits={bits}, expected one of {widths}")
        x = checked_numbers(x, "x")
        values, inner = sketch(x, TAIL, INNER)
        rows, weights = values[None], sketch_weights(len(values), inner)[None]
        tables = [table for b in widths for table in (*(start(_spread(values, inner), 2**b) for start in STARTS.values()),
                                                      optimal_kmeans(rows, 2**b, weights).centroids)]
        super().__init__(x, TAIL, INNER, name=name, starts=list(STARTS), widths=list(widths),
                         tables=float_bytes(torch.cat(tables, 1)), bits=bits)


def sketch_weights(count: int, inner: float) -> Tensor:
    """(count,) how many numbers each number of a sketch stands for, in float64.

    >>> sketch_weights(130, 5.0)[62:68].tolist()
    [1.0, 1.0, 5.0, 5.0, 1.0, 1.0]
    """
    weights = torch.full((count,), float(inner), dtype=torch.float64)
    weights[:TAIL] = weights[-TAIL:] = 1
    return weights


def one_table(quantizer: Affine | Codebook) -> tuple[Tensor, Tensor]:
    """(k,) levels and (k - 1,) boundaries of a quantizer that has one table for everything.

    >>> one_table(Codebook(torch.tensor([-1.0, 1.0]), scale=torch.tensor(3.0)))
    (tensor([-3.,  3.]), tensor([0.]))
    """
    if isinstance(quantizer, Affine):
        scheme = quantizer.scheme
        levels = dequantize(torch.arange(scheme.qmin, scheme.qmax + 1)[None], quantizer.scale, quantizer.zero_point)[0]
        return levels, midpoints(levels)
    if len(quantizer.levels) != 1 or quantizer.scale is not None and len(quantizer.scale) != 1:
        raise ValueError(f"given {quantizer}, expected one table and one scale")
    scale = 1.0 if quantizer.scale is None else quantizer.scale[0]
    return quantizer.levels[0] * scale, quantizer.boundaries[0] * scale


def _unit(x: Tensor) -> Tensor:
    return x / x.square().mean().sqrt().clamp(min=torch.finfo(x.dtype).tiny)


def _spread(values: Tensor, inner: float) -> Tensor:
    """The sketch as sorted rows in which every number stands for about as many: what the starts draw from."""
    return values.repeat_interleave(sketch_weights(len(values), inner).round().clamp(min=1).long())[None]
