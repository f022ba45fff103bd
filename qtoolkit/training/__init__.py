"""Codes inside training: what a quantized network learns while its codes are in place.

    distill_codebooks(student, teacher, batches)     code words follow the float network's answers     codebook_distillation.py
    stochastic_round(x, generator)                   up or down by chance, exact on average            stochastic.py
    QuantNoise(fake, share, generator)               some weights are quantized at a time              stochastic.py
"""

from qtoolkit.training.codebook_distillation import codebooks_of, distill_codebooks, teacher_divergence
from qtoolkit.training.stochastic import QuantNoise, stochastic_quantize, stochastic_round, stochastic_signs

__all__ = ["QuantNoise", "codebooks_of", "distill_codebooks", "stochastic_quantize", "stochastic_round", "stochastic_signs", "teacher_divergence"]
