"""Calibration: which range of real numbers the codes shall cover."""

from torch import Tensor

from qtoolkit.quantizers import _checks


def min_max(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The range from the smallest to the largest value of each row: lo = min x, hi = max x.

    rows: (n_blocks, block_size). Returns lo and hi, each (n_blocks, 1).
    Raises TypeError or ValueError if rows is not a non-empty matrix of finite real numbers.
    Source: Gholami et al. 2021, section III-C.

    >>> import torch
    >>> min_max(torch.tensor([[0.5, -1.0], [2.0, 3.0]]))
    (tensor([[-1.],
            [ 2.]]), tensor([[0.5000],
            [3.0000]]))
    """
    rows = as_rows(rows)
    lo, hi = rows.aminmax(dim=1, keepdim=True)
    return lo, hi


def as_rows(rows: Tensor) -> Tensor:
    """Return `rows` if it is a (n_blocks, block_size) matrix of finite real numbers, else raise."""
    if _checks.real_tensor(rows, "rows").dim() != 2:
        raise ValueError(f"rows has shape {tuple(rows.shape)}, expected (n_blocks, block_size); use granularity.blocks(x)")
    return rows
