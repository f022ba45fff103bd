"""Codebook distillation against a lookup written differently, closed forms, and a network that must get better."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qtoolkit.layers import WeightCodes, WeightOnly, quantize_
from qtoolkit.quantizers import Codebook, KMeans, ProductQuantizer, ResidualQuantizer, column_blocks
from qtoolkit.training import codebooks_of, distill_codebooks, teacher_divergence


def networks(shared=True, fit=None):
    """A float teacher with a convolution and a dense layer, and its vector-quantized student."""
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 5)).eval()
    for layer in (teacher[0], teacher[3], teacher[5]):
        layer.weight.data *= 3  # answers that differ from class to class
    fit = fit or (lambda w: ProductQuantizer.fit(w, k=3, dim=9 if w.dim() == 4 else 2, shared=shared))
    return teacher, quantize_(copy.deepcopy(teacher), WeightCodes(fit))


def inputs(count=32, seed=0):
    return torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


def codes_of(student):
    return [layer.qweight.codes.clone() for layer in student if hasattr(layer, "qweight")]


@pytest.mark.parametrize("shared", [True, False])
def test_the_gradient_of_a_code_word_is_the_sum_over_its_members(shared):
    """The oracle knows no lookup: gradients of a dense copy of the weights, added up member by member in a loop."""
    teacher, student = networks(shared)
    for books in codebooks_of(student):
        books.requires_grad_()
    teacher_divergence(student(inputs()), teacher(inputs()).detach()).backward()

    dense = copy.deepcopy(teacher)
    for ours, theirs in zip(student, dense):
        if hasattr(ours, "qweight"):
            theirs.weight.data = ours.qweight.dequantize().detach()
    F.kl_div(dense(inputs()).log_softmax(1), teacher(inputs()).detach().softmax(1), reduction="batchmean").backward()
    for ours, theirs in zip(student, dense):
        if hasattr(ours, "qweight"):
            codes, expected = ours.qweight.codes, torch.zeros_like(ours.codebooks)
            for m, block in enumerate(column_blocks(theirs.weight.grad, ours.codebooks.shape[2])):
                for o, part in enumerate(block):
                    expected[0 if shared else m, codes[o, m].long()] += part
            torch.testing.assert_close(ours.codebooks.grad, expected, rtol=1e-4, atol=1e-6)


def test_the_divergence_is_scipys_relative_entropy():
    from scipy.special import rel_entr, softmax

    g = torch.Generator().manual_seed(1)
    s, t = (3 * torch.randn(7, 4, generator=g, dtype=torch.float64) for _ in range(2))
    for temperature in (1.0, 4.0):
        expected = temperature**2 * rel_entr(softmax(t.numpy() / temperature, 1), softmax(s.numpy() / temperature, 1)).sum(1).mean()
        assert teacher_divergence(s, t, temperature).item() == pytest.approx(expected, rel=1e-9)


def test_a_student_that_equals_its_teacher_gets_no_gradient():
    _, student = networks()
    teacher = copy.deepcopy(student)
    for b in codebooks_of(student):
        b.requires_grad_()
    loss = teacher_divergence(student(inputs()), teacher(inputs()))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all(b.grad.abs().max() < 1e-6 for b in codebooks_of(student))


def test_codes_biases_and_teacher_stay_and_code_words_move():
    teacher, student = networks()
    codes, books = codes_of(student), [b.clone() for b in codebooks_of(student)]
    biases, state = [layer.bias.clone() for layer in student if hasattr(layer, "bias")], copy.deepcopy(teacher.state_dict())
    losses = distill_codebooks(student, teacher, [inputs(seed=s) for s in range(3)], lr=0.01)
    assert len(losses) == 3 and all(loss > 0 for loss in losses)
    assert all(torch.equal(a, b) for a, b in zip(codes, codes_of(student)))
    assert all(torch.equal(a, layer.bias) for a, layer in zip(biases, (layer for layer in student if hasattr(layer, "bias"))))
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in state.items())
    assert all((a - b).abs().max() > 1e-3 and not b.requires_grad and b.grad is None for a, b in zip(books, codebooks_of(student)))


@pytest.mark.parametrize("fit", [None, lambda w: ResidualQuantizer.fit(w, 3, 9 if w.dim() == 4 else 2, 2, shared=True)])
def test_the_loss_falls_on_inputs_that_were_not_trained_on(fit):
    teacher, student = networks(fit=fit)

    def held_out():
        with torch.no_grad():
            return teacher_divergence(student(inputs(256, seed=99)), teacher(inputs(256, seed=99))).item()

    before = held_out()
    distill_codebooks(student, teacher, [inputs(64, seed=s) for s in range(60)], lr=0.01)
    assert held_out() < 0.9 * before


def test_lenet_at_half_a_bit_recovers_on_held_out_digits():
    from qtoolkit import lab

    teacher = lab.trained("lenet-300-100")
    digits, held = lab.mnist("train").inputs()[:4096], lab.mnist("test").inputs()[:2000]
    dims = {784: 8, 300: 4, 100: 4}
    student = quantize_(copy.deepcopy(teacher), WeightCodes(lambda w: ProductQuantizer.fit(w, 16 if w.shape[1] == 784 else 4, dims[w.shape[1]], shared=True)))
    with torch.no_grad():
        before = teacher_divergence(student(held), teacher(held)).item()
    distill_codebooks(student, teacher, digits.split(128), lr=3e-3)
    with torch.no_grad():
        assert teacher_divergence(student(held), teacher(held)).item() < 0.4 * before


def test_a_failed_run_leaves_no_gradients_behind():
    teacher, student = networks()
    with pytest.raises(ArithmeticError, match="smaller learning rate"):
        distill_codebooks(student, lambda x: torch.full((len(x), 5), torch.nan), [inputs()])
    assert not any(b.requires_grad for b in codebooks_of(student))


@pytest.mark.parametrize("call, told", [
    (lambda t, s: distill_codebooks(s, t, []), "batches is empty"),
    (lambda t, s: distill_codebooks(t, t, [inputs()]), "no layer with vector codes"),
    (lambda t, s: codebooks_of(quantize_(t, WeightCodes(lambda w: Codebook.fit(w, KMeans(2))))), "no layer with vector codes"),
    (lambda t, s: codebooks_of(quantize_(t, WeightOnly())), "no layer with vector codes"),
    (lambda t, s: distill_codebooks(s, t, [inputs()], temperature=0.0), "temperature is 0.0"),
    (lambda t, s: teacher_divergence(torch.zeros(2, 3), torch.zeros(3, 3)), "expected \\(batch, classes\\) twice"),
])
def test_what_cannot_be_distilled_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call(*networks())
