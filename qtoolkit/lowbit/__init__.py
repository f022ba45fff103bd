"""One and two bits: weights and activations that are signs, or signs and zeros.

    b = binarize(x)                              signs forward, a stand-in for their derivative backward     binary.py
    w~ = scaled_signs(w)                         a sign for each weight, a size for each output              binary.py
    w~ = balanced_signs(w, progress)             as many +1 as -1, and a derivative that sharpens            binary.py
    Codebook.fit(w, Ternary(), PerChannel())     -a, 0, a, with the zeros up to 0.7 of the mean              ternary.py
"""

from qtoolkit.lowbit.binary import (balanced_signs, binarize, clip_masters, error_decay, input_scales, magnitude_penalty, scaled_signs,
                                    swish_sign, swish_slope, window)
from qtoolkit.lowbit.ternary import Ternary

__all__ = ["Ternary", "balanced_signs", "binarize", "clip_masters", "error_decay", "input_scales", "magnitude_penalty", "scaled_signs",
           "swish_sign", "swish_slope", "window"]
