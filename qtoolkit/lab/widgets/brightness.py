"""A digit under a lamp: what a frozen range and a measured one pass on."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, float_bytes, synced
from qtoolkit.lab.widgets.digits import check_frames

KINDS = ("static", "dynamic")


class Brightness(Widget):
    """One digit at a time, darker or brighter, and what a network reads in it with static and with dynamic ranges.

    images: (N, 28, 28) uint8; labels: (N,); frames: {"static": {brightness: probabilities (N, 10)}, "dynamic": the same brightnesses}. The
    script draws the picture as the first quantizer passes it on: a static range ends at brightness 1. Raises TypeError or ValueError for
    what does not fit.
    """

    module = "brightness.js"
    images = synced(traitlets.Bytes())
    labels = synced(traitlets.List())
    scores = synced(traitlets.Bytes())
    steps = synced(traitlets.List())

    def __init__(self, images: Tensor, labels: Tensor, frames: dict[str, dict[float, Tensor]]):
        if set(frames) != set(KINDS) or set(frames["static"]) != set(frames["dynamic"]) or not all(step > 0 for step in frames["static"]):
            raise ValueError(f"frames have {sorted(frames)}, expected static and dynamic at the same brightnesses, all above 0")
        for kind in KINDS:
            check_frames(images, labels, frames[kind])
        steps = sorted(frames["static"])
        super().__init__(images=images.contiguous().cpu().numpy().tobytes(), labels=[int(label) for label in labels], steps=[float(step) for step in steps],
                         scores=float_bytes(torch.stack([frames[kind][step] for kind in KINDS for step in steps])))
