"""One and two bits: weights and activations that are signs, or signs and zeros.

    b = binarize(x)                              signs forward, a stand-in for their derivative backward     binary.py
    w~ = scaled_signs(w)                         a sign for each weight, a size for each output              binary.py
    w~ = balanced_signs(w, error_decay(0.5))     as many +1 as -1, and a derivative that sharpens            binary.py
    Codebook.fit(w, Ternary(), PerChannel())     -a, 0, a, with the zeros up to 0.7 of the mean              ternary.py
    w~ = trained_ternary(w, p, n)                -n, 0, p, with sizes that learn                             ternary.py
    w~ = loss_aware_signs(w, d)                  near where the loss is curved                               loss_aware.py
"""

from qtoolkit.lowbit.binary import (Shortcut, balanced_signs, binarize, clip_masters, error_decay, input_scales, magnitude_penalty,
                                    scaled_signs, swish_sign, swish_slope, triangle, window)
from qtoolkit.lowbit.loss_aware import loss_aware_signs, loss_aware_ternary
from qtoolkit.lowbit.ternary import Ternary, trained_ternary

__all__ = ["Shortcut", "Ternary", "balanced_signs", "binarize", "clip_masters", "error_decay", "input_scales", "loss_aware_signs",
           "loss_aware_ternary", "magnitude_penalty", "scaled_signs", "swish_sign", "swish_slope", "trained_ternary", "triangle", "window"]
