"""The two pictures of a range: their arithmetic is torch's, their data what they were given, their controls live without a kernel."""

import math

import numpy as np
import pytest
import torch
from browsing import called, move_everything, opened, reads_well_on_a_phone, ready

from qtoolkit import Affine, Scheme
from qtoolkit.lab.widgets import ClipRange, KLView
from qtoolkit.lab.widgets.bundle import bundle
from qtoolkit.lab.widgets.ranges import clips
from qtoolkit.quantizers import KL, MSE, Percentile
from qtoolkit.quantizers.clipping import kl_bins, kl_divergence

SCRIPT = bundle("ranges_maths.js") + "export { clipReport, klDivergence, klSearch };"


def heavy(n: int = 4000) -> torch.Tensor:
    x = torch.randn(n, generator=torch.Generator().manual_seed(0))
    return x * (0.3 + x.abs() ** 3)


def call(page, name: str, calls: list) -> list:
    return called(page, SCRIPT, name, calls)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_error_inside_and_outside_is_torchs(page, bits):
    x, ones = heavy(), [1.0] * 4000
    for share in (1.0, 0.3, 0.05):
        clip = (x.abs().max() * share).item()
        error = (Affine.from_range(-clip, clip, Scheme(bits, narrow_range=True)).fake(x).double() - x.double()).square()
        outside = x.double().abs() > clip
        report = call(page, "clipReport", [[x.double().tolist(), ones, clip, bits]])[0]
        assert report["clipping"] == pytest.approx((error * outside).mean().item(), rel=1e-9, abs=1e-12)
        assert report["rounding"] == pytest.approx((error * ~outside).mean().item(), rel=1e-9)
        assert report["mse"] == pytest.approx(error.mean().item(), rel=1e-9)
        assert report["outside"] == pytest.approx(outside.double().mean().item())


@pytest.mark.parametrize("levels", [4, 7, 16])
def test_the_divergence_is_torchs_at_every_threshold(page, levels):
    counts = torch.histc(heavy().abs(), 64).double()
    counts[5] = 0
    expected = [kl_divergence(counts[None], kept, levels).item() for kept in range(levels, 65)]
    got = call(page, "klDivergence", [[counts.tolist(), kept, levels] for kept in range(levels, 65)])
    assert [math.inf if value is None else value for value in got] == pytest.approx(expected, rel=1e-9)
    assert call(page, "klSearch", [[counts.tolist(), levels, 20]])[0]["best"][0] == kl_bins(counts[None], levels, least=20).item()


def test_the_calibrations_are_the_librarys():
    x = heavy()
    row = x[None]  # all values at once; the widget reads a histogram of them
    chosen = clips(x, 4)
    assert chosen["min/max"] == pytest.approx(x.abs().max().item(), rel=1e-3)
    assert chosen["MSE"] == pytest.approx(MSE(Scheme(4, narrow_range=True))(row)[1].item(), rel=0.02)
    assert chosen["KL"] == pytest.approx(max(-KL(4)(row)[0].item(), KL(4)(row)[1].item()), rel=1e-3)
    assert chosen["percentile 99.9"] == pytest.approx(max(-Percentile(99.9)(row)[0].item(), Percentile(99.9)(row)[1].item()), rel=0.02)


def test_the_histogram_travels_whole():
    view = KLView(heavy(), codes=16)
    counts = np.frombuffer(view.counts, "<f4")
    assert counts.sum() == 4000 and len(counts) == 2048 and view.least == 128 and view.power == 4
    assert view.top / 2 <= heavy().abs().max() < view.top
    assert ClipRange(heavy()).tail == 256 and ClipRange(heavy(100)).tail == 0


@pytest.mark.parametrize(("make", "error"), [
    (lambda: ClipRange(torch.ones(3), bits=1), ValueError), (lambda: ClipRange(torch.zeros(3)), ValueError), (lambda: ClipRange([1.0]), TypeError),
    (lambda: KLView(torch.ones(3), codes=5), ValueError), (lambda: KLView(torch.zeros(3)), ValueError), (lambda: KLView(torch.tensor([torch.nan])), ValueError)])
def test_what_cannot_be_shown_is_refused(make, error):
    with pytest.raises(error, match="expected"):
        make()


@pytest.fixture(scope="module")
def widgets():
    return [ClipRange(heavy(), name="test numbers"), KLView(heavy().relu(), name="test numbers", codes=16)]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert [move_everything(watched.page, widget) for widget in ready(watched.page, 2)] == [4, 6]
        assert watched.troubles == []


def test_the_clip_can_be_dragged_in_the_picture(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[0]
        assert "outside: none" in widget.locator(".qt-facts").inner_text().lower().replace("\n", ": ")
        box = widget.locator(".qt-drag").bounding_box()
        watched.page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 60)
        watched.page.mouse.down()
        watched.page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 60, steps=5)
        watched.page.mouse.up()
        dragged = float(widget.locator("output").nth(1).inner_text().replace(",", ""))
        assert dragged == pytest.approx(0.2 * heavy().abs().max().item(), rel=0.15)


def test_the_words_name_the_best_place(browser, home):
    with opened(browser, home) as watched:
        words = ready(watched.page, 2)[0].locator(".qt-words").inner_text()
        assert "None of test numbers lie outside" in words
        assert "Rounding is the larger part" in words


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme, 2)
