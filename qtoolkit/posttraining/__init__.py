"""A trained network is changed without training it again.

    deployable = fold_batch_norms(model)          batch norms become part of the layer before them              fold.py
    equalized = equalize(deployable)              neighbors share their ranges out evenly                       equalization.py
    split = split_outliers(w, bits=4)             a channel with outliers becomes two                           outlier_splitting.py
    h = input_hessian(x)                          what an error in the weights does to the output               gptq.py
    q = gptq(w, h, quantizer)                     codes column by column, later ones answering for earlier      gptq.py
    q = adaround(w, h, quantizer)                 codes up or down, learned                                     adaround.py
    bits = allocate_bits(ranges, bits=4)          channels with long ranges get more bits                       bit_allocation.py
    bias = correct_bias(layer, w~, mean_input)    what rounding does to the average output is taken back        bias_correction.py
"""

from qtoolkit.posttraining.adaround import adaround, rectified_sigmoid
from qtoolkit.posttraining.bias_correction import correct_bias, relu_mean, restore_moments
from qtoolkit.posttraining.bit_allocation import allocate_bits, best_levels
from qtoolkit.posttraining.equalization import absorb_high_bias, equalization_factors, equalize
from qtoolkit.posttraining.fold import fold_batch_norms
from qtoolkit.posttraining.gptq import gptq, input_hessian
from qtoolkit.posttraining.outlier_splitting import SplitWeight, split_outliers

__all__ = ["SplitWeight", "absorb_high_bias", "adaround", "allocate_bits", "best_levels", "correct_bias", "equalization_factors", "equalize",
           "fold_batch_norms", "gptq", "input_hessian", "rectified_sigmoid", "relu_mean", "restore_moments", "split_outliers"]
