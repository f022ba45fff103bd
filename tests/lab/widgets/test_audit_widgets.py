"""Forgotten bytes and accuracy against size: the arithmetic, what is refused, and controls that live without a kernel."""

import random

import pytest
from browsing import move_everything, opened, reads_well_on_a_phone, ready

from qtoolkit.lab.widgets import AccuracyAgainstSize, ForgottenBytes
from qtoolkit.lab.widgets.bundle import bundle

SCRIPT = bundle("audit_maths.js") + "export { countedBytes, bestUnder };"
CALL = """async ([source, ledgers, curves]) => {
  const m = await import("data:text/javascript," + encodeURIComponent(source));
  return [ledgers.map(([parts, gone]) => m.countedBytes(parts, gone)), curves.map(([points, limit]) => m.bestUnder(points, limit))];
}"""
LEDGER = {"codes": 5000, "gaps": 4000, "filler codes": 300, "filler gaps": 400, "codebooks": 250, "tables": 50, "biases": 800, "header": 100}
CURVES = {
    "pruning": [{"ratio": r, "held_out_percent": e, "test_percent": e - 0.1, "recipe": f"{r} times pruned"} for r, e in ((2, 1.5), (8, 1.9), (20, 4.0))],
    "SVD": [{"ratio": r, "held_out_percent": e, "test_percent": e, "recipe": f"{r} times thinner"} for r, e in ((3, 2.5), (9, 9.5))],
}


def test_sizes_and_best_points_are_what_python_finds(page):
    chance = random.Random(0)
    ledgers, curves = [], []
    for _ in range(50):
        parts = [[name, chance.randrange(1000)] for name in "abcdef"]
        ledgers.append([parts, [chance.sample("abcdef", chance.randrange(4)) for _ in range(chance.randrange(4))]])
        curves.append([[[chance.uniform(1, 99), chance.uniform(1, 6)] for _ in range(6)], chance.uniform(0.5, 6)])
    counted, best = page.evaluate(CALL, [SCRIPT, ledgers, curves])
    assert counted == [sum(size for name, size in parts if name not in sum(gone, [])) for parts, gone in ledgers]
    for index, (points, limit) in zip(best, curves, strict=True):
        allowed = [ratio for ratio, error in points if error <= limit]
        assert points[index][0] == max(allowed) if allowed else index == -1


@pytest.mark.parametrize("make", [
    lambda: ForgottenBytes({"codes": 1}, 10), lambda: ForgottenBytes(LEDGER | {"header": -1}, 10**6), lambda: ForgottenBytes(LEDGER, 10_000),
    lambda: AccuracyAgainstSize({}, 1.0), lambda: AccuracyAgainstSize({"one point": CURVES["SVD"][:1]}, 1.0), lambda: AccuracyAgainstSize(CURVES, 0.0)])
def test_what_cannot_be_shown_is_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.fixture(scope="module")
def widgets():
    return [ForgottenBytes(LEDGER, 436_000, name="a test file"), AccuracyAgainstSize(CURVES, 1.4)]


def test_boxes_by_keyboard_change_the_ratio_and_the_words(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[0]
        words, boxes = widget.locator(".qt-words"), widget.get_by_role("checkbox")
        assert "Nothing is forgotten" in words.inner_text() and "40.0×" in words.inner_text() and boxes.count() == 6
        for box in (4, 5):  # fillers and index share the fillers' gaps
            boxes.nth(box).focus()
            watched.page.keyboard.press("Space")
        assert "Without the fillers and the index it would be 6,200 bytes, printed as 70.3×" in words.inner_text()
        assert "honest\n40.0×" in widget.locator(".qt-facts").inner_text()
        boxes.nth(4).click()
        assert "Without the index it would be 6,500 bytes" in words.inner_text()
        assert watched.troubles == []


def test_every_control_of_the_curves_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert move_everything(watched.page, ready(watched.page, 2)[1]) > 4
        assert watched.troubles == []


def test_the_axes_have_numbers(browser, home):
    with opened(browser, home) as watched:
        written = ready(watched.page, 2)[1].locator("svg text").all_text_contents()
        assert {"2×", "16×", "8", "limit 2.0 %"} <= set(written)


def test_a_lower_limit_leaves_fewer_points(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[1]
        words, limit = widget.locator(".qt-words"), widget.get_by_role("slider").nth(1)
        assert "At most 2.0 % wrong: pruning 8×, SVD none." in words.inner_text()
        limit.focus()
        limit.press("End")
        assert "pruning 20×, SVD 3×." in words.inner_text()
        limit.press("Home")
        assert "pruning none, SVD none." in words.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme, 2)
