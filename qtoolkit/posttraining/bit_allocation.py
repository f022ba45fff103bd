"""A budget of levels, shared out among channels so that the squared error of all together is smallest."""

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks


def best_levels(ranges: Tensor, budget: float) -> Tensor:
    r"""How many levels each channel should have, as real numbers, if all have `budget` levels together.

        minimize sum a_i^2 / (3 L_i^2)  with  sum L_i = B:    L_i = B a_i^(2/3) / sum a_j^(2/3)

    ranges: (channels,), a_i >= 0, the half width of what channel i covers; a step is 2 a_i / L_i, its error a 12th of its square. Eight
    times the range gets four times the levels, two bits more. Raises TypeError or ValueError for what is not real and finite,
    negative, or all 0, and for a budget of 0 or less.
    Source: Banner et al. 2019, section 4.

    >>> best_levels(torch.tensor([1.0, 8.0]), budget=20)
    tensor([ 4., 16.])
    """
    _check(ranges)
    if not 0 < budget < float("inf"):
        raise ValueError(f"budget is {budget}, expected a positive number of levels")
    share = ranges ** (2 / 3)
    return budget * share / share.sum()


def allocate_bits(ranges: Tensor, bits: int) -> Tensor:
    r"""Whole bits for each channel, int64, of which sum 2^(bits_i) does not exceed that of `bits` everywhere.

    A channel of b bits has 2^b levels, so `best_levels` has to be rounded to powers of two within the budget B = channels 2^bits. Bits are
    given one at a time: the next one goes where it lowers the error most for each level that it costs,

        (a^2 / 4^b - a^2 / 4^(b+1)) / 2^b  =  3/4 a^2 / 8^b,

    until none fits, or all have 16. A channel with the range 0 needs none. ranges: as for `best_levels`.
    Raises what `best_levels` raises, and TypeError or ValueError for bits outside 1..16.
    Source: Banner et al. 2019, section 4, for real numbers of bits.

    >>> allocate_bits(torch.tensor([1.0, 1.0, 8.0, 0.0]), bits=4)
    tensor([4, 3, 5, 0])
    """
    _check(ranges)
    given = torch.zeros(ranges.shape, dtype=torch.int64)
    left = ranges.numel() * (2 ** _checks.bit_width(bits) - 1)  # a channel without bits has one level
    gain = ranges.double() ** 2
    while True:
        fits = (gain > 0) & (2**given <= left) & (given < _checks.MAX_BITS)
        if not fits.any():
            return given
        at = torch.where(fits, gain, -1.0).argmax()
        left -= 2 ** int(given[at])
        given[at] += 1
        gain[at] /= 8


def _check(ranges: Tensor) -> None:
    if (_checks.real_tensor(ranges, "ranges") < 0).any() or not ranges.any():
        raise ValueError(f"ranges go from {ranges.min().item():g} to {ranges.max().item():g}, expected 0 or more, and one above 0")
