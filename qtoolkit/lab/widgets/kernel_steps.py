"""One byte instruction step by step: 64 bytes times 64 bytes into 16 sums."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, synced


class KernelSteps(Widget):
    """Four inputs meet four weights of each of 16 outputs, as `vpdpbusd` does it. Controls: the step, the lane, the first input.

    inputs: (4,) int8; weight: (16, 4) int8; sums: (16,) int32 before the instruction. The script recomputes everything as
    qtoolkit.kernels.instructions does. Raises ValueError for other shapes or dtypes and for a lane that is not there.
    """

    module = "kernel_steps.js"
    inputs = synced(traitlets.List())
    weight = synced(traitlets.List())
    sums = synced(traitlets.List())
    lane = synced(traitlets.Int())

    def __init__(self, inputs: Tensor, weight: Tensor, sums: Tensor, lane: int = 0):
        parts = {"inputs": (inputs, torch.int8, (4,)), "weight": (weight, torch.int8, (16, 4)), "sums": (sums, torch.int32, (16,))}
        for name, (given, dtype, shape) in parts.items():
            if given.dtype is not dtype or tuple(given.shape) != shape:
                raise ValueError(f"{name} is {given.dtype} of shape {tuple(given.shape)}, expected {dtype} of shape {shape}")
        if lane not in range(16):
            raise ValueError(f"lane is {lane}, expected 0 to 15")
        super().__init__(inputs=inputs.tolist(), weight=weight.tolist(), sums=sums.tolist(), lane=lane)
