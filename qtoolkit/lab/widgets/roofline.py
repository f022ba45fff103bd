"""The roofline of a machine, with a layer on it that moves as its batch and its bits change."""

import math

import traitlets

from qtoolkit.lab.widgets.base import Widget, synced

MOST_BATCH = 8  # powers of two: up to 256 rows


class Roofline(Widget):
    """Peak and bandwidths of a machine, log-log, and one linear layer. Controls: batch 1 to 256, bits of a weight, where the weights lie.

    limits: as qtoolkit.lab.ladder.limits measures them (int8 and float peaks in G multiply-adds a second, read in GB/s by
    working set); machine: its name; k, n: inputs and outputs of the layer. Raises ValueError for limits that are missing or not positive.
    """

    module = "roofline.js"
    machine = synced(traitlets.Unicode())
    peaks = synced(traitlets.List())
    places = synced(traitlets.List())
    shape = synced(traitlets.List())

    def __init__(self, limits: dict, machine: str = "this machine", k: int = 4096, n: int = 4096):
        try:
            peaks = [float(limits["int8"][limits["isa"]]), float(limits["float"])]
            places = [[name, float(rate)] for name, rate in limits["read"].items()]
        except KeyError as missing:
            raise ValueError(f"the limits have no {missing}, expected what qtoolkit.lab.ladder.limits returns") from None
        rates = [*peaks, *(rate for _, rate in places)]
        if not places or not all(math.isfinite(rate) and rate > 0 for rate in rates) or k < 1 or n < 1:
            raise ValueError(f"given rates {rates} and a layer of {k} x {n}, expected positive numbers")
        super().__init__(machine=machine, peaks=peaks, places=places, shape=[k, n])
