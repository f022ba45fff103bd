"""Every widget on a page without a kernel: each control moves something, by keyboard and by mouse, wide and on a phone, light and dark."""

import pytest
import torch
from browsing import WIDGET, move_everything, opened, ready, sideways_scroll, violations

from qtoolkit.lab.widgets import BitsAndAccuracy, NetworkOnDigits, NumberLine, PixelBits, quiz

QUESTION = {"question": "How many codes have `2` bits?", "options": [
    {"text": "4", "correct": True, "explanation": "Two to the power of two."},
    {"text": "2", "correct": False, "explanation": "That is one bit: `0` and `1`."},
    {"text": "3", "correct": False, "explanation": "That is a restricted range."}]}


@pytest.fixture(scope="module")
def widgets():
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 28, 28), generator=draw, dtype=torch.uint8)
    frames = {bits: torch.rand(3, 10, generator=draw).mul(4).softmax(1) for bits in (8, 5, 3, 2, 1)}
    weights = torch.randn(5000, generator=draw)
    return [NumberLine(weights, name="weights"), NumberLine(weights.relu(), name="activations", mode="asymmetric"),
            BitsAndAccuracy(images, torch.tensor([1, 2, 3]), frames, wrong={8: 1, 5: 2, 3: 3, 2: 4, 1: 5}),
            NetworkOnDigits(images, torch.tensor([1, 2, 3]), frames), PixelBits(images, torch.tensor([1, 2, 3]), frames), quiz([QUESTION, QUESTION])]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        moved = [move_everything(watched.page, widget) for widget in ready(watched.page, 6)]
        assert moved == [7, 7, 2, 4, 4, 8]
        assert watched.troubles == []


def test_the_words_say_what_the_picture_shows(browser, home):
    with opened(browser, home) as watched:
        line = ready(watched.page, 6)[0]
        watched.page.keyboard.press("Tab")
        assert line.locator("input[type=range]").first.evaluate("slider => slider === document.activeElement"), "the first stop is a control"
        watched.page.keyboard.press("Home")
        assert line.locator(".qt-words").inner_text().startswith("A 2-bit symmetric quantizer on weights")
        assert "of the 4 codes occur" in line.locator(".qt-words").inner_text()


def test_every_option_has_its_own_answer(browser, home):
    with opened(browser, home) as watched:
        question = ready(watched.page, 6)[-1].locator("fieldset").first
        for index, option in enumerate(QUESTION["options"]):
            question.locator("label").nth(index).click()
            answer = question.locator(".qt-answer").inner_text()
            assert option["explanation"].replace("`", "") in answer
            assert ("Right." in answer) == option["correct"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker(browser, home, scheme):
    with opened(browser, home, scheme=scheme) as watched:
        ready(watched.page, 6)
        for option in watched.page.locator(f"{WIDGET} .qt-options input").all()[1:3]:
            option.click()
        assert violations(watched.page, "main") == []


def test_a_phone_needs_no_sideways_scroll(browser, home):
    with opened(browser, home, width=360) as watched:
        widgets = ready(watched.page, 6)
        assert sideways_scroll(watched.page) == 0
        for widget in widgets:
            inside = widget.evaluate("root => root.scrollWidth - root.clientWidth")
            assert inside <= 0, widget.get_attribute("aria-label")
