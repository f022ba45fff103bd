"""Codes inside training: what a quantized network learns while its codes are in place.

    distill_codebooks(student, teacher, batches)     code words follow the float network's answers     codebook_distillation.py
"""

from qtoolkit.training.codebook_distillation import codebooks_of, distill_codebooks, teacher_divergence

__all__ = ["codebooks_of", "distill_codebooks", "teacher_divergence"]
