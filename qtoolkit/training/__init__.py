"""Codes inside training: what a quantized network learns while its codes are in place.

    distill_codebooks(student, teacher, batches)     code words follow the float network's answers     codebook_distillation.py
    straight_through(x, S, Z, qmin, qmax)            rounded forward, as if not backward               straight_through.py
    lsq(x, step, qmin, qmax), pact(x, alpha, bits)   the step or the clip learns                       learned_ranges.py
    toward_levels(w, levels, strength)               a pull to the nearest level, no estimator         without_estimator.py
    stochastic_round(x, generator)                   up or down by chance, exact on average            stochastic.py
    QuantNoise(fake, share, generator)               some weights are quantized at a time              stochastic.py
"""

from qtoolkit.training.codebook_distillation import codebooks_of, distill_codebooks, teacher_divergence
from qtoolkit.training.learned_ranges import dorefa_activations, dorefa_gradient, dorefa_weights, lsq, lsq_step, pact
from qtoolkit.training.stochastic import QuantNoise, stochastic_quantize, stochastic_round, stochastic_signs
from qtoolkit.training.straight_through import QuantizedTraining, straight_through
from qtoolkit.training.without_estimator import alpha_blend, sine_penalty, toward_levels

__all__ = ["QuantNoise", "QuantizedTraining", "alpha_blend", "codebooks_of", "distill_codebooks", "dorefa_activations", "dorefa_gradient",
           "dorefa_weights", "lsq", "lsq_step", "pact", "sine_penalty", "stochastic_quantize", "stochastic_round", "stochastic_signs",
           "straight_through", "teacher_divergence", "toward_levels"]
