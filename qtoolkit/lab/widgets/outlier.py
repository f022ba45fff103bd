"""One outlier in an activation, and what a range leaves to the other values."""

import math

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, checked_numbers, float_bytes, synced

STEPS = 40  # of the slider: from 1 to 100 times the largest other value
HOW = ("tensor", "token", "static")


class OneOutlier(Widget):
    """An activation (tokens, channels) whose largest value the reader scales from 1 to 100 times the largest other one.

    words: a name for each token. Controls: outlier, bits 2 to 8, range per tensor, per token, or static (frozen while the outlier was at
    1 x). At first the outlier is as large as in x, to the nearest step. Codes are asymmetric. Raises TypeError or ValueError for an x
    that is no real, finite matrix, for words that do not name its rows, and for settings that no control can reach.
    """

    module = "one_outlier.js"
    values = synced(traitlets.Bytes())
    channels = synced(traitlets.Int())
    place = synced(traitlets.Int())
    reach = synced(traitlets.Float())
    at = synced(traitlets.Int())
    words = synced(traitlets.List())
    name = synced(traitlets.Unicode())
    bits = synced(traitlets.Int())
    how = synced(traitlets.Unicode())

    def __init__(self, x: Tensor, words: list[str], name: str = "the activations", bits: int = 4, how: str = "tensor"):
        if bits not in range(2, 9) or how not in HOW:
            raise ValueError(f"given bits={bits}, how={how!r}; expected bits 2 to 8 and how one of {', '.join(HOW)}")
        numbers = checked_numbers(x, "x")
        if x.dim() != 2 or len(words) != len(x) or x.numel() < 2:
            raise ValueError(f"x has shape {tuple(x.shape)} and there are {len(words)} words, expected (tokens, channels) and a word for each token")
        place, reach = outlier(numbers)
        factor = float(numbers[place]) / reach
        super().__init__(values=float_bytes(numbers), channels=x.shape[1], place=place, reach=reach, words=list(words), name=name, bits=bits, how=how,
                         at=min(STEPS, max(0, round(STEPS * math.log(factor, 100)))))


def outlier(x: Tensor) -> tuple[int, float]:
    """Where the largest of the numbers x (n,) stands, and the largest magnitude of the others.

    Raises ValueError if the largest is not positive or the others are all zero: there is nothing to scale.

    >>> outlier(torch.tensor([1.0, 20.0, -2.0]))
    (1, 2.0)
    """
    place = int(x.argmax())
    others = x.clone()
    others[place] = 0
    reach = float(others.abs().max())
    if reach == 0 or x[place] <= 0:
        raise ValueError(f"the largest value is {float(x[place]):g} and the largest magnitude of the others {reach:g}, expected both above 0")
    return place, reach
