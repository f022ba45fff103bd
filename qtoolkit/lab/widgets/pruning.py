"""Sparse storage by hand: gaps between kept weights, and the fillers that bridge long ones."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, synced
from qtoolkit.quantizers import _checks

LONGEST = 64  # places of a row that a phone can show


class GapAndFiller(Widget):
    """A short row of codes as stored (gap, weight) pairs, and the bytes of real layers; controls: gap bits from 2 to 8, which layer.

    row: codes from 0 (pruned) to 99, at most 64 places; layers: {name: pruned weights of any shape}, carried as counts of distances;
    weight_bits: bits of each weight's code; bits: gap bits at first. Bytes are weights' codes and gaps at fixed width, fillers included.
    Raises TypeError for a layer that is not a real tensor, and ValueError for a row, a layer or bits that cannot be shown.
    """

    module = "gap_and_filler.js"
    row = synced(traitlets.List())
    layers = synced(traitlets.List())
    distances = synced(traitlets.List())
    weight_bits = synced(traitlets.Int())
    bits = synced(traitlets.Int())

    def __init__(self, row: list[int], layers: dict[str, Tensor], weight_bits: int = 6, bits: int = 3):
        if not 1 <= len(row) <= LONGEST or any(code not in range(100) for code in row) or not any(row):
            raise ValueError(f"row is {row}, expected 1 to {LONGEST} codes from 0 to 99, not all of them 0")
        if bits not in range(2, 9) or weight_bits not in range(1, 33):
            raise ValueError(f"bits is {bits} and weight_bits {weight_bits}, expected 2 to 8 and 1 to 32")
        if not layers:
            raise ValueError("layers is empty, expected at least one pruned layer")
        super().__init__(row=[int(code) for code in row], layers=list(layers), weight_bits=weight_bits, bits=bits,
                         distances=[_distances(weight, name) for name, weight in layers.items()])


def _distances(weight: Tensor, name: str) -> list[list[int]]:
    """[[distance to the nonzero before, how often], ...], counted from the place before the first."""
    places = torch.nonzero(_checks.real_tensor(weight, name).detach().flatten()).flatten()
    if not places.numel():
        raise ValueError(f"layer '{name}' holds only zeros, expected at least one kept weight")
    values, counts = places.diff(prepend=places.new_tensor([-1])).unique(return_counts=True)
    return torch.stack([values, counts], 1).tolist()
