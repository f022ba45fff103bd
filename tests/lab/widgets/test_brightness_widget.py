"""A digit under a lamp: the saturation is torch's, the data what was given, the controls live without a kernel."""

import numpy as np
import pytest
import torch
from browsing import move_everything, opened, reads_well_on_a_phone, ready

from qtoolkit import Scheme
from qtoolkit.lab.widgets import Brightness
from qtoolkit.lab.widgets.bundle import bundle
from qtoolkit.quantizers import StaticRange

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (3, 28, 28), generator=DRAW, dtype=torch.uint8) * (torch.rand(3, 28, 28, generator=DRAW) < 0.3)
LABELS = torch.tensor([1, 2, 3])
STEPS = (0.25, 1.0, 4.0)
CALL = """async ([source, calls]) => {
  const { passedOn, saturatedShare } = await import("data:text/javascript," + encodeURIComponent(source));
  return calls.map((call) => [[...passedOn(...call)], saturatedShare(...call)]);
}"""


def frames() -> dict:
    draw = torch.Generator().manual_seed(1)
    return {kind: {step: torch.rand(3, 10, generator=draw).mul(4).softmax(1) for step in STEPS} for kind in ("static", "dynamic")}


@pytest.fixture(scope="module")
def widgets():
    return [Brightness(IMAGES, LABELS, frames())]


def test_the_pixels_are_cut_as_a_static_range_cuts_them(page):
    pixels = IMAGES[0].flatten()
    quantizer = StaticRange.calibrate([torch.tensor([0.0, 1.0])], Scheme(8, symmetric=False))
    got = page.evaluate(CALL, [bundle("brightness.js") + "export { passedOn, saturatedShare };", [[pixels.tolist(), step, "static"] for step in STEPS]])
    for step, (seen, share) in zip(STEPS, got, strict=True):
        bright = pixels.double() / 255 * step
        passed = quantizer(bright.float()) * 255
        assert (torch.tensor(seen) - passed).abs().max() <= 1.01  # a pixel at half a code may go either way
        assert share == pytest.approx((bright[pixels > 0] > 1 + 1e-9).double().mean().item())


def test_it_carries_what_it_was_given():
    widget = Brightness(IMAGES, LABELS, frames())
    scores = np.frombuffer(widget.scores, "<f4").reshape(2, 3, 3, 10)
    assert (scores[1, 2] == frames()["dynamic"][4.0].numpy()).all() and widget.steps == list(STEPS)


@pytest.mark.parametrize("broken", [
    {"static": frames()["static"]}, {**frames(), "dynamic": {1.0: frames()["dynamic"][1.0]}}, {kind: {0.0: torch.ones(3, 10) / 10} for kind in frames()},
    {kind: {1.0: torch.ones(2, 10) / 10} for kind in frames()}])
def test_what_cannot_be_shown_is_refused(broken):
    with pytest.raises(ValueError, match="expected"):
        Brightness(IMAGES, LABELS, broken)


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert move_everything(watched.page, ready(watched.page)[0]) == 6
        assert watched.troubles == []


def test_the_words_tell_static_from_dynamic(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page)[0]
        widget.locator("input[type=range]").fill("2")
        assert "cut to white" in widget.locator(".qt-words").inner_text()
        widget.get_by_role("radio", name="dynamic").check()
        assert "nothing saturates" in widget.locator(".qt-words").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme)
