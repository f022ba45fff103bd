"""Codebook distillation: the codes stay, the code words learn to give the float network's answers ("And the bit goes down")."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtoolkit.layers import WeightOnlyConv2d, WeightOnlyLinear


def teacher_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(y_t / T) || softmax(y_s / T)), the mean over the batch: 0 where both networks say the same. No label is used.

    Both logits: (batch, classes). Stock et al. take T = 1; a higher temperature also asks for the ranking of the unlikely classes, and
    T^2 keeps the gradient's size (Hinton et al. 2015, section 2). Returns a scalar in nats.
    Raises ValueError for shapes that differ and a temperature that is not positive.
    Source: Stock et al. 2020, section 3.3.
    See: book/chapters/15-vector-quantization.ipynb#codebook-distillation

    >>> y = torch.tensor([[2.0, 0.0, -1.0]])
    >>> teacher_divergence(y, y).item(), teacher_divergence(-y, y).item() > 1
    (0.0, True)
    """
    if student_logits.shape != teacher_logits.shape or student_logits.dim() != 2:
        raise ValueError(f"logits have shapes {tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}, expected (batch, classes) twice")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}, expected a positive number")
    student, teacher = ((y / temperature).log_softmax(1) for y in (student_logits, teacher_logits))
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def codebooks_of(student: nn.Module) -> list[Tensor]:
    """The code books of all layers that store vector codes: what distillation may move.

    Raises ValueError if there are none.
    See: book/chapters/15-vector-quantization.ipynb#codebook-distillation

    >>> from qtoolkit.layers import WeightCodes, quantize_
    >>> from qtoolkit.quantizers import ProductQuantizer
    >>> student = quantize_(nn.Sequential(nn.Linear(8, 6)), WeightCodes(lambda w: ProductQuantizer.fit(w, k=4, dim=2, shared=True)))
    >>> [tuple(books.shape) for books in codebooks_of(student)]
    [(1, 4, 2)]
    """
    layers = [m for m in student.modules() if isinstance(m, (WeightOnlyLinear, WeightOnlyConv2d))]
    books = [layer.codebooks for layer in layers if hasattr(layer, "codebooks")]
    if not books:
        raise ValueError("the student has no layer with vector codes; first quantize_(student, WeightCodes(lambda w: ProductQuantizer.fit(w, k, dim)))")
    return books


def distill_codebooks(student: nn.Module, teacher: nn.Module, batches: Iterable[Tensor], lr: float = 1e-3,
                      temperature: float = 1.0) -> list[float]:
    """Train the code words of `student` in place, one Adam step a batch, on the teacher's answers; return the loss before each step.

    Codes, biases and the teacher stay as they are. A code word c_j stands in many places J_j of the weight, so the chain rule adds up:
    dL/dc_j = sum of dL/dw_p over p in J_j. Stock et al. take the mean, dL/dc_j / |J_j|, and SGD; Adam divides by the gradient's own
    size, so the factor hardly matters to it. The modes of both networks (eval, train) are left to the caller.
    batches: inputs (batch, ...), no labels. Raises ValueError without a batch or without vector codes, ArithmeticError when the loss is
    no longer finite.
    Source: Stock et al. 2020, section 3.3.
    See: book/chapters/15-vector-quantization.ipynb#codebook-distillation
    """
    books, losses = codebooks_of(student), []
    optimizer = torch.optim.Adam([b.requires_grad_() for b in books], lr=lr)
    try:
        for inputs in batches:
            losses.append(_step(student, teacher, inputs, optimizer, temperature))
    finally:
        for b in books:
            b.requires_grad_(False).grad = None
    if not losses:
        raise ValueError("batches is empty, expected at least one batch of inputs")
    return losses


def _step(student: nn.Module, teacher: nn.Module, inputs: Tensor, optimizer: torch.optim.Optimizer, temperature: float) -> float:
    with torch.no_grad():
        target = teacher(inputs)
    loss = teacher_divergence(student(inputs), target, temperature)
    if not loss.isfinite():
        raise ArithmeticError(f"the loss became {loss.item()}: try a smaller learning rate")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
