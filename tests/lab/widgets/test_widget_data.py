"""What the widgets carry is what they were given, and what they cannot show is refused with a reason."""

import numpy as np
import pytest
import torch

from qtoolkit import Affine, Scheme
from qtoolkit.lab.widgets import BitsAndAccuracy, NetworkOnDigits, NumberLine, PixelBits, Quiz, quiz
from qtoolkit.lab.widgets.number_line import INNER, TAIL, bins, sketch

IMAGES, LABELS = torch.arange(2 * 784, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(2, 28, 28), torch.tensor([3, 7])
SCORES = torch.eye(10)[[3, 1]]
RIGHT = {"text": "4", "correct": True, "explanation": "two to the power of two"}
WRONG = {"text": "2", "correct": False, "explanation": "that is one bit"}


def test_number_line_carries_tails_quantiles_and_all_counts():
    x = torch.randn(30_000, generator=torch.Generator().manual_seed(0))
    line = NumberLine(x.reshape(100, 300), name="w")
    values = np.frombuffer(line.values, "<f4")
    assert len(values) == 2 * TAIL + INNER and (np.diff(values) >= 0).all() and np.isin(values, x.numpy()).all()
    ordered = x.sort().values.numpy()
    assert (values[:TAIL] == ordered[:TAIL]).all() and (values[-TAIL:] == ordered[-TAIL:]).all()
    assert 2 * line.tail + line.inner * INNER == sum(line.counts) == line.total == 30_000
    expected, _ = np.histogram(x.numpy().astype(np.float64), bins=np.frombuffer(line.edges, "<f4").astype(np.float64))
    assert np.abs(np.cumsum(expected) - np.cumsum(line.counts)).max() <= 2


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shorter", [1.0, 0.4])
def test_the_few_numbers_have_the_error_of_all(bits, shorter):
    x = torch.distributions.Laplace(0.0, 0.1).icdf(torch.rand(200_000, generator=torch.Generator().manual_seed(1)).clamp(1e-6, 1 - 1e-6))
    few, inner = sketch(x)
    weights = torch.full_like(few, inner)
    weights[:TAIL] = weights[-TAIL:] = 1
    quantizer = Affine.from_range(x.min() * shorter, x.max() * shorter, Scheme(bits=bits))
    exact = (x - quantizer.fake(x)).square().mean()
    estimate = (weights * (few - quantizer.fake(few)).square()).sum() / weights.sum()
    assert estimate == pytest.approx(exact.item(), rel=0.03)
    assert set(quantizer.encode(few).codes.tolist()) >= set(quantizer.encode(x).codes.tolist()) if bits < 8 else True


def test_few_numbers_travel_as_they_are():
    few, inner = sketch(torch.tensor([3.0, 1.0]))
    assert few.tolist() == [1.0, 3.0] and inner == 1
    counts, edges = bins(torch.tensor([2.0, 2.0]))
    assert counts.sum() == 2 and edges[0] == 2 and edges[-1] == 3


@pytest.mark.parametrize(("x", "error"), [
    (torch.tensor([1, 2]), TypeError), ([1.0], TypeError), (torch.empty(0), ValueError), (torch.tensor([1.0, torch.nan]), ValueError),
    (torch.tensor([torch.inf]), ValueError)])
def test_number_line_refuses_what_is_not_real_numbers(x, error):
    with pytest.raises(error, match="expected"):
        NumberLine(x)


@pytest.mark.parametrize("settings", [{"bits": 1}, {"bits": 9}, {"clip": 5}, {"clip": 52}, {"mode": "sym"}])
def test_number_line_refuses_settings_that_no_control_reaches(settings):
    with pytest.raises(ValueError, match="expected bits 2 to 8"):
        NumberLine(torch.randn(4), **settings)


def test_digits_carry_pictures_and_frames_from_most_bits_to_fewest():
    shown = BitsAndAccuracy(IMAGES, LABELS, {2: SCORES / 2, 32: SCORES}, wrong={2: 5, 32: 1}, total=7)
    assert shown.bits == [32, 2] and shown.wrong == [1, 5] and shown.total == 7 and shown.labels == [3, 7]
    assert shown.images == IMAGES.numpy().tobytes()
    scores = np.frombuffer(shown.scores, "<f4").reshape(2, 2, 10)
    assert (scores[0] == SCORES.numpy()).all() and (scores[1] == SCORES.numpy() / 2).all()


def test_a_sliced_picture_travels_right():
    shown = NetworkOnDigits(IMAGES.transpose(1, 2), LABELS, {32: SCORES})
    assert shown.images == IMAGES.transpose(1, 2).contiguous().numpy().tobytes()


@pytest.mark.parametrize(("arguments", "error", "match"), [
    ((IMAGES.float(), LABELS, {32: SCORES}), TypeError, "uint8"),
    ((IMAGES, LABELS[:1], {32: SCORES}), ValueError, "labels"),
    ((IMAGES, LABELS, {}), ValueError, "frame"),
    ((IMAGES, LABELS, {32: SCORES[:1]}), ValueError, "shape"),
    ((IMAGES, LABELS, {32: SCORES * 5}), ValueError, "softmax"),
    ((IMAGES, LABELS, {32: SCORES * torch.nan}), ValueError, "finite")])
def test_digits_that_do_not_fit_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        BitsAndAccuracy(*arguments)


def test_counts_must_match_the_frames():
    with pytest.raises(ValueError, match="expected the same"):
        BitsAndAccuracy(IMAGES, LABELS, {32: SCORES}, wrong={8: 1})


def test_a_pixel_has_no_32_bits():
    with pytest.raises(ValueError, match="a pixel has 8"):
        PixelBits(IMAGES, LABELS, {32: SCORES})


@pytest.mark.parametrize("asked", [
    {"question": "?", "options": [RIGHT]}, {"question": "?", "options": [RIGHT, RIGHT]}, {"question": "?", "options": [WRONG, WRONG]},
    {"question": "", "options": [RIGHT, WRONG]}, {"question": "?", "options": [RIGHT, WRONG | {"explanation": ""}]},
    {"question": "?", "options": [RIGHT, WRONG], "points": 3}])
def test_a_question_that_would_confuse_is_refused(asked):
    with pytest.raises(ValueError):
        quiz([asked])


def test_a_quiz_needs_questions():
    with pytest.raises(ValueError, match="at least one"):
        Quiz([])


def test_a_widget_prints_the_same_in_every_run():
    shown = quiz([{"question": "?", "options": [RIGHT, WRONG]}])._repr_mimebundle_()
    data = shown[0] if isinstance(shown, tuple) else shown
    assert data["text/plain"] == "Quiz(1 question)"
