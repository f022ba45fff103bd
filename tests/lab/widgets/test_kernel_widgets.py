"""The widgets of the chapter on kernels: their arithmetic is the library's, their controls live without a kernel."""

import pytest
import torch
from browsing import called, move_everything, opened, ready, sideways_scroll, violations

from qtoolkit.kernels.instructions import three_step_dot, vpdpbusd, vpmaddubsw
from qtoolkit.kernels.roofline import linear_work, roof
from qtoolkit.lab.widgets import KernelSteps, Roofline
from qtoolkit.lab.widgets.bundle import bundle

SCRIPT = bundle("kernel_maths.js") + "export { dotOfLane, layerOnRoof };"
LIMITS = {"isa": "best", "int8": {"best": 200.0, "scalar": 5.0}, "float": 50.0, "read": {"256 KiB": 120.0, "128 MiB": 15.0}}


def _draw(seed=0, lanes=16):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.tensor([127, 120, -3, 40], dtype=torch.int8)
    weight = torch.randint(-127, 128, (lanes, 4), generator=generator, dtype=torch.int8)
    weight[0] = torch.tensor([127, 126, 3, -9])
    return inputs, weight, torch.randint(-5000, 5000, (lanes,), generator=generator, dtype=torch.int32)


def test_a_lane_is_the_instruction(page):
    inputs, weight, sums = _draw(lanes=200)
    got = called(page, SCRIPT, "dotOfLane", [[inputs.tolist(), w, s] for w, s in zip(weight.tolist(), sums.tolist())])
    u = (inputs.int() + 128).to(torch.uint8).expand(200, 4)
    assert [lane["sum"] for lane in got] == vpdpbusd(sums[:, None], u, weight)[:, 0].tolist()
    assert [lane["bySteps"] for lane in got] == three_step_dot(sums[:, None], u, weight)[:, 0].tolist()
    assert [lane["kept"] for lane in got] == vpmaddubsw(u, weight).tolist()
    assert [lane["exact"] for lane in got] == (weight.int() @ inputs.int()).tolist()
    assert all(lane["four"] - lane["correction"] == lane["exact"] for lane in got)


def test_a_layer_lies_on_the_roof(page):
    cases = [[m, k, n, bits, 200.0, rate] for m in (1, 16, 256) for k, n in ((784, 300), (4096, 4096)) for bits in (32, 8, 4, 2) for rate in (15.0, 120.0)]
    for (m, k, n, bits, peak, rate), got in zip(cases, called(page, SCRIPT, "layerOnRoof", cases), strict=True):
        work = linear_work(m, k, n, bits, 32 if bits == 32 else 8)
        assert got["work"] == work.multiply_adds and got["nbytes"] == work.nbytes
        assert got["roof"] == pytest.approx(roof(work.intensity, peak, rate))
        assert got["byBytes"] == (work.intensity * rate < peak)
        assert got["least"] == pytest.approx(max(work.multiply_adds / peak, work.nbytes / rate) / 1e3)


@pytest.mark.parametrize("make", [
    lambda: KernelSteps(torch.zeros(4), *_draw()[1:]), lambda: KernelSteps(_draw()[0], _draw()[1][:8], _draw()[2]), lambda: KernelSteps(*_draw(), lane=16),
    lambda: Roofline({"isa": "best"}), lambda: Roofline(LIMITS | {"float": 0.0}), lambda: Roofline(LIMITS | {"read": {}}), lambda: Roofline(LIMITS, k=0)])
def test_what_cannot_be_shown_is_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.fixture(scope="module")
def widgets():
    return [KernelSteps(*_draw()), Roofline(LIMITS, machine="a test machine")]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert [move_everything(watched.page, widget) > 2 for widget in ready(watched.page, 2)] == [True, True]
        assert watched.troubles == []


def test_a_register_has_64_cells_and_every_number_is_drawn(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[0]
        widget.get_by_role("slider").first.press("End")
        drawn = widget.locator("svg").inner_html()
        assert widget.locator(".qt-cell").count() == 64 + 64 + 16 and "[object" not in drawn
        assert "255" in drawn and "= 32,385" in drawn and "in 16 bits: 32,767" in drawn


def test_the_words_of_the_instruction_follow_the_keyboard(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[0]
        words, (step, lane, first) = widget.locator(".qt-words"), widget.get_by_role("slider").all()
        assert "copied into all 16 lanes" in words.inner_text()
        step.focus()
        step.press("End")
        assert "Step 5" in words.inner_text() and "One pair does not fit 16 bits" in words.inner_text()
        first.focus()
        first.press("Home")
        assert "Both pairs fit 16 bits" in words.inner_text()
        lane.focus()
        lane.press("End")
        assert "lane 16" in words.inner_text()


def test_the_words_of_the_roofline_say_what_bounds(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[1]
        words, (batch, _) = widget.locator(".qt-words"), widget.get_by_role("slider").all()
        assert "bound by bytes" in words.inner_text()
        batch.focus()
        batch.press("End")
        assert "bound by arithmetic" in words.inner_text() and "256 rows" in words.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    with opened(browser, home, width=360, scheme=scheme) as watched:
        for widget in ready(watched.page, 2):
            for slider in widget.get_by_role("slider").all():
                slider.press("End")
        assert violations(watched.page, "main") == []
        assert sideways_scroll(watched.page) == 0
