"""Low rank: a weight matrix as the product of two thin ones, the rival that Deep Compression's figure 6 compares with."""

import torch
from torch import Tensor, nn

from qtoolkit.quantizers import _checks


def factorize(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best rank-`rank` approximation of a matrix, W ~ A B with A (rows, rank) and B (rank, columns).

    W = U S V^T, A = U_r sqrt(S_r), B = sqrt(S_r) V_r^T. No other A B of this rank has a smaller squared error, which is
    the sum of the dropped singular values squared (Eckart and Young 1936). Raises ValueError unless 1 <= rank <= min(shape).
    See: book/chapters/20-the-paper-audited.ipynb#the-rival-low-rank

    >>> a, b = factorize(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), rank=1)
    >>> torch.round(a @ b, decimals=4)
    tensor([[3., 0.],
            [0., 0.]])
    """
    if _checks.real_tensor(weight, "weight").dim() != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected a matrix; flatten(1) turns a convolution into one")
    _checks.positive_int(rank, "rank")
    if rank > min(weight.shape):
        raise ValueError(f"rank is {rank}, expected at most min{tuple(weight.shape)} = {min(weight.shape)}")
    left, values, right = torch.linalg.svd(weight.detach(), full_matrices=False)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def rank_for(rows: int, columns: int, density: float) -> int:
    """The largest rank whose factors hold at most `density` of the matrix's numbers: r (rows + columns) <= density * rows * columns.

    >>> rank_for(300, 784, density=0.2)
    43
    """
    if not 0 < density <= 1:
        raise ValueError(f"density is {density}, expected a number above 0 and up to 1")
    return max(1, min(int(density * rows * columns / (rows + columns)), rows, columns))


def low_rank_linear(layer: nn.Linear, rank: int) -> nn.Sequential:
    """Two thin layers in place of one: x -> A (B x) + bias."""
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"layer is a {type(layer).__name__}, expected an nn.Linear")
    a, b = factorize(layer.weight, rank)
    thin, wide = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
    thin.weight, wide.weight = nn.Parameter(b.contiguous()), nn.Parameter(a.contiguous())
    if layer.bias is not None:
        wide.bias = nn.Parameter(layer.bias.detach().clone())
    return nn.Sequential(thin, wide)


def factorize_(model: nn.Module, ranks: dict[str, int]) -> nn.Module:
    """Replace the Linear layers named in `ranks` by two thin ones each, in place."""
    for name, rank in ranks.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, low_rank_linear(model.get_submodule(name), rank))
    return model
