"""Vector quantization: one code for several numbers at once (survey IV-F).

A weight (out, in) is cut into sub-vectors of `dim` neighboring inputs: column block m holds one sub-vector for every output.
A Conv2d weight counts as (out, in * height * width).
"""

from __future__ import annotations

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.qtensor import QTensor


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """(n, d) points, (k, d) centroids -> (n,) index of the nearest centroid: argmin ||c||^2 - 2 p c, the first on a tie.
    See: book/chapters/15-vector-quantization.ipynb#from-numbers-to-vectors

    >>> nearest(torch.tensor([[0.0, 1.0], [5.0, 5.0]]), torch.tensor([[0.0, 0.0], [4.0, 4.0]]))
    tensor([0, 1])
    """
    points, centroids = _points(points, "points"), _points(centroids, "centroids")
    if points.shape[1] != centroids.shape[1]:
        raise ValueError(f"points have {points.shape[1]} coordinates and centroids {centroids.shape[1]}, expected the same")
    center = centroids.double().mean(0)  # distances lose fewer digits around the center
    points, centroids = points.double() - center, centroids.double() - center
    length = centroids.square().sum(1)
    return torch.cat([(length - 2 * part @ centroids.T).argmin(1) for part in points.split(1 << 14)])


def vector_kmeans(points: Tensor, centroids: Tensor, metric: Tensor | None = None, steps: int = 25) -> Tensor:
    """Lloyd's algorithm in d dimensions, from the given centroids: assign to the nearest, move to the mean, repeat.

    metric: (d, d) positive semidefinite G; nearest then means least (p - c)^T G (p - c). The mean minimizes that for every G, so
    only the assignment changes. An empty cluster keeps its centroid. Returns (k, d) centroids.
    Raises TypeError or ValueError for operands that are no matrices or do not fit.
    See: book/chapters/15-vector-quantization.ipynb#from-numbers-to-vectors

    >>> vector_kmeans(torch.tensor([[0.0, 0], [0, 2], [9, 9]]), torch.tensor([[0.0, 0], [9, 8]]))
    tensor([[0., 1.],
            [9., 9.]])
    """
    _checks.positive_int(steps, "steps", smallest=0)
    root = metric_root(metric, _points(points, "points").shape[1]).to(points.dtype)
    codes = None
    for _ in range(steps):
        codes, before = nearest(points @ root, centroids @ root), codes
        if before is not None and torch.equal(codes, before):
            break
        count = torch.bincount(codes, minlength=len(centroids))[:, None]
        total = torch.zeros(centroids.shape, dtype=torch.float64).index_add_(0, codes, points.double())
        centroids = torch.where(count > 0, (total / count.clamp(min=1)).to(points.dtype), centroids)
    return centroids


def metric_root(metric: Tensor | None, dim: int) -> Tensor:
    """(d, d) R with R R^T = G, so that ||p R|| is the length of p under G; the identity if there is no metric.

    >>> metric_root(torch.tensor([[4.0, 0.0], [0.0, 9.0]]), dim=2)
    tensor([[2., 0.],
            [0., 3.]])
    """
    if metric is None:
        return torch.eye(dim)
    if _checks.real_tensor(metric, "metric").shape != (dim, dim):
        raise ValueError(f"metric has shape {tuple(metric.shape)}, expected ({dim}, {dim})")
    values, vectors = torch.linalg.eigh(metric.double())
    return (vectors * values.clamp(min=0).sqrt()).float()


class ProductQuantizer:
    """One code book for each column block, w[o, block m] ~ codebooks[m, code[o, m]], or one for all of them, codebooks[0, code[o, m]].

    codebooks: (blocks, k, dim) or (1, k, dim). Bits a weight: log2(k) / dim, plus 32 k / out for a book in each block, or
    32 k dim / (out in) for a shared one, which small layers need.
    Source: Jegou et al. 2011; Gong et al. 2014, section 3.2.3; Wu et al. 2016; shared: Stock et al. 2020, section 3.1.
    See: book/chapters/15-vector-quantization.ipynb#product-quantization

    >>> w = torch.tensor([[0.0, 1.0, 5.0, 5.0], [0.0, 1.0, 6.0, 6.0], [2.0, 3.0, 5.0, 5.0]])
    >>> q = ProductQuantizer.fit(w, k=2, dim=2).encode(w)
    >>> tuple(q.codes.shape), bool((q.dequantize() == w).all())
    ((3, 2), True)
    """

    signed = False

    def __init__(self, codebooks: Tensor, metrics: Tensor | None = None):
        self.codebooks = _checks.real_number(codebooks, "codebooks")
        if self.codebooks.dim() != 3 or self.codebooks.shape[1] > 2**_checks.MAX_BITS:
            raise ValueError(f"codebooks has shape {tuple(self.codebooks.shape)}, expected (blocks, k, dim), k at most 65536")
        self.metrics = metrics

    @classmethod
    def fit(cls, weight: Tensor, k: int, dim: int, inputs: Tensor | None = None, seed: int = 0, steps: int = 25,
            shared: bool = False) -> ProductQuantizer:
        """k-means in every column block, from k of its sub-vectors drawn at random; in all of them together if `shared`.

        inputs: (samples, in) calibration inputs X of the layer. Then blocks minimize ||X_m (w - w~)||^2, what the next layer sees,
        and not ||w - w~||^2: plain k-means first, then on with the metric X_m^T X_m (their sum, if shared). Correlations between
        blocks are left out.
        Source of the second: Stock et al. 2020 ("And the bit goes down"), section 3.
        """
        blocks = column_blocks(weight, dim)
        metrics = None if inputs is None else input_metrics(inputs, dim, len(blocks))
        if shared:
            blocks, metrics = blocks.flatten(0, 1)[None], None if metrics is None else metrics.sum(0, keepdim=True)
        generator = torch.Generator().manual_seed(seed)
        books = torch.stack([vector_kmeans(p, _drawn(p, k, generator), None, steps) for p in blocks])
        if metrics is None:
            return cls(books)
        return cls(torch.stack([vector_kmeans(p, c, g, steps) for p, c, g in zip(blocks, books, metrics)]), metrics)

    def encode(self, weight: Tensor) -> QTensor:
        """Each sub-vector to the index of its nearest code word; codes: (out, blocks)."""
        blocks = column_blocks(weight, self.codebooks.shape[2])
        if len(self.codebooks) not in (1, len(blocks)):
            raise ValueError(f"a weight of shape {tuple(weight.shape)} has {len(blocks)} column blocks of {self.codebooks.shape[2]}, "
                             f"but this quantizer was fitted to {len(self.codebooks)}; fit a new one")
        metrics = [None] * len(self.codebooks) if self.metrics is None else self.metrics
        roots = [metric_root(g, blocks.shape[2]) for g in metrics]
        groups = blocks.unflatten(0, (len(roots), -1)).flatten(1, 2)  # the sub-vectors of each code book
        codes = torch.cat([nearest(p @ r.to(p.dtype), c @ r.to(c.dtype)) for p, c, r in zip(groups, self.codebooks, roots)]).reshape(len(blocks), -1).T
        return QTensor(codes.to(self.code_dtype), self, weight.shape)

    def decode(self, q: QTensor) -> Tensor:
        """Each index to its code word."""
        if not isinstance(q, QTensor):
            raise TypeError(f"q is a {type(q).__name__}, expected a QTensor from encode(weight)")
        return self.words(q.codes).reshape(q.shape)

    def words(self, codes: Tensor) -> Tensor:
        """(out, blocks) codes -> (out, blocks, dim) code words."""
        return self.codebooks[torch.arange(len(self.codebooks)).expand(codes.shape[1]), codes.long()]

    def fake(self, weight: Tensor) -> Tensor:
        """encode, then decode, in the dtype of the weight."""
        return self.decode(self.encode(weight)).to(weight.dtype)

    @property
    def bits(self) -> int:
        """Bits of one code: ceil(log2 k)."""
        return max(1, (self.codebooks.shape[1] - 1).bit_length())

    @property
    def code_dtype(self) -> torch.dtype:
        """The integer dtype of unpacked codes."""
        return torch.uint8 if self.bits <= 8 else torch.int32

    def parts(self) -> dict[str, Tensor]:
        """What a file stores beside the codes: the code books."""
        return {"codebooks": self.codebooks}

    def about(self) -> dict:
        """Nothing more is needed."""
        return {}

    @classmethod
    def from_parts(cls, parts: dict[str, Tensor], about: dict) -> ProductQuantizer:
        """Undo `parts`. Metrics are not stored: decoding needs none."""
        return cls(parts["codebooks"])

    def __repr__(self) -> str:
        blocks, k, dim = self.codebooks.shape
        return f"ProductQuantizer(blocks={blocks}, k={k}, dim={dim})"


def column_blocks(weight: Tensor, dim: int) -> Tensor:
    """(out, in, ...) -> (blocks, out, dim) sub-vectors of neighboring inputs.
    See: book/chapters/15-vector-quantization.ipynb#product-quantization

    >>> column_blocks(torch.zeros(3, 8), dim=2).shape
    torch.Size([4, 3, 2])
    """
    if _checks.real_tensor(weight, "weight").dim() < 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (out, in) or (out, in, height, width)")
    matrix = _checks.widened(weight).flatten(1)
    if matrix.shape[1] % _checks.positive_int(dim, "dim"):
        raise ValueError(f"{matrix.shape[1]} inputs do not split into sub-vectors of {dim}; choose a divisor of {matrix.shape[1]}")
    return matrix.reshape(len(matrix), -1, dim).transpose(0, 1)


def input_metrics(inputs: Tensor, dim: int, blocks: int) -> Tensor:
    """(samples, in) inputs -> (blocks, dim, dim) X_m^T X_m, the metric of each column block.
    See: book/chapters/15-vector-quantization.ipynb#errors-that-the-next-layer-sees

    >>> input_metrics(torch.eye(4), dim=2, blocks=2)[0]
    tensor([[1., 0.],
            [0., 1.]])
    """
    if _checks.real_tensor(inputs, "inputs").dim() != 2 or inputs.shape[1] != dim * blocks:
        raise ValueError(f"inputs has shape {tuple(inputs.shape)}, expected (samples, {dim * blocks}): one column an input of the layer")
    parts = _checks.widened(inputs).reshape(len(inputs), blocks, dim).transpose(0, 1)
    return parts.transpose(1, 2) @ parts


def _points(points: Tensor, name: str) -> Tensor:
    if _checks.real_tensor(points, name).dim() != 2:
        raise ValueError(f"{name} has shape {tuple(points.shape)}, expected (n, d)")
    return points


def _drawn(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k different points, in a random order."""
    if _checks.positive_int(k, "k") > len(points):
        raise ValueError(f"k is {k}, expected at most the {len(points)} sub-vectors of a block: the first code words are drawn from them")
    return points[torch.randperm(len(points), generator=generator)[:k]]
