"""One outlier under three ranges: the arithmetic is torch's, the data what was given, the controls live without a kernel."""

import numpy as np
import pytest
import torch
from browsing import move_everything, opened, reads_well_on_a_phone, ready

from qtoolkit import Affine, Scheme
from qtoolkit.lab.widgets import OneOutlier
from qtoolkit.lab.widgets.bundle import bundle
from qtoolkit.quantizers import DynamicRange, PerToken, StaticRange

CALL = """async ([source, calls]) => {
  const { outlierReport } = await import("data:text/javascript," + encodeURIComponent(source));
  return calls.map(([values, ...rest]) => { const report = outlierReport(new Float32Array(values), ...rest); return { ...report, back: [...report.back] }; });
}"""
SCRIPT = bundle("outlier_maths.js") + "export { outlierReport };"
WORDS = ["a", "b", "c", "d", "e"]


def activation(factor: float = 8.0) -> torch.Tensor:
    x = torch.nn.functional.gelu(torch.randn(5, 24, generator=torch.Generator().manual_seed(0)))
    x[1, 7] = 0
    x[1, 7] = factor * x.abs().max()
    return x


def by_torch(x: torch.Tensor, bits: int, how: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The codes and the numbers read back."""
    scheme = Scheme(bits, symmetric=False, **({"granularity": PerToken()} if how == "token" else {}))
    still = x.clone()
    still[1, 7] = activation(1.0)[1, 7]
    quantizer = Affine.fit(still if how == "static" else x, scheme)
    module = StaticRange.calibrate([still], scheme) if how == "static" else DynamicRange(scheme)
    return quantizer.encode(x).codes, module(x)


@pytest.mark.parametrize("how", ["tensor", "token", "static"])
def test_codes_and_errors_are_torchs(page, how):
    cases = [(bits, factor) for bits in range(2, 9) for factor in (1.0, 8.0, 100.0)]
    still = activation(1.0)[1, 7].item()
    got = page.evaluate(CALL, [SCRIPT, [[activation(factor).flatten().tolist(), 24, 31, still, bits, how] for bits, factor in cases]])
    for (bits, factor), report in zip(cases, got, strict=True):
        x, others = activation(factor), torch.ones(5, 24, dtype=torch.bool)
        others[1, 7] = False
        codes, back = by_torch(x, bits, how)
        assert report["back"] == back.flatten().tolist(), (bits, factor)
        assert report["counts"] == torch.bincount(codes.flatten().int() + 2 ** (bits - 1), minlength=2**bits).tolist()
        assert report["code"] == codes[1, 7].item() + 2 ** (bits - 1)
        assert report["used"] == len(codes[others].unique())
        assert report["rms"] == pytest.approx((back - x)[others].double().square().mean().sqrt().item(), rel=1e-6)
        assert report["zeros"] == pytest.approx((back[others] == 0).double().mean().item())
        assert report["outlierError"] == pytest.approx((back - x)[1, 7].abs().item(), rel=1e-6, abs=1e-6)
        assert report["clipped"] == (how == "static" and factor > 1)


def test_it_carries_what_it_was_given():
    widget = OneOutlier(activation(), WORDS)
    assert (np.frombuffer(widget.values, "<f4").reshape(5, 24) == activation().numpy()).all()
    assert (widget.place, widget.channels, widget.words) == (31, 24, WORDS)
    assert widget.reach == pytest.approx(activation()[1, 7].item() / 8) and 100 ** (widget.at / 40) == pytest.approx(8, rel=0.06)
    assert OneOutlier(activation(1000.0), WORDS).at == 40


@pytest.mark.parametrize(("make", "error"), [
    (lambda: OneOutlier(activation(), WORDS, bits=1), ValueError), (lambda: OneOutlier(activation(), WORDS, how="row"), ValueError),
    (lambda: OneOutlier(activation(), WORDS[:4]), ValueError), (lambda: OneOutlier(torch.zeros(2, 2), ["a", "b"]), ValueError),
    (lambda: OneOutlier(-torch.ones(2, 2), ["a", "b"]), ValueError), (lambda: OneOutlier(torch.ones(4), WORDS[:4]), ValueError),
    (lambda: OneOutlier(torch.ones(2, 2, dtype=torch.int64), ["a", "b"]), TypeError)])
def test_what_cannot_be_shown_is_refused(make, error):
    with pytest.raises(error, match="expected"):
        make()


@pytest.fixture(scope="module")
def widgets():
    return [OneOutlier(activation(), WORDS, name="test activations")]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert move_everything(watched.page, ready(watched.page)[0]) == 7
        assert watched.troubles == []


def test_the_words_tell_the_three_ranges_apart(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page)[0]
        words = widget.locator(".qt-words")
        assert "One dynamic range for the whole tensor" in words.inner_text() and "times what it would be without" in words.inner_text()
        widget.get_by_role("radio", name="per token").check()
        assert "A dynamic range for each token" in words.inner_text()
        widget.get_by_role("radio", name="static").check()
        assert "error is what it would be without the outlier" in words.inner_text() and "clipped" in words.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme)
