"""The widget of chapter 05 computes what torch computes, carries its layers whole, and works on a page without a kernel."""

import pytest
import torch
from browsing import move_everything, opened, ready, sideways_scroll, violations

from qtoolkit import Affine, Scheme
from qtoolkit.lab.widgets import ScaleSharing
from qtoolkit.lab.widgets.bundle import bundle
from qtoolkit.lab.widgets.scale_sharing import block_sizes
from qtoolkit.quantizers import ChannelGroups, PerChannel, PerGroup, PerTensor

CALL = """async ([source, values, calls]) => {
  const maths = await import("data:text/javascript," + encodeURIComponent(source));
  return calls.map((rest) => maths.sharedReport(Float32Array.from(values), ...rest));
}"""


def layer(channels: int = 12, inputs: int = 12) -> torch.Tensor:
    """A weight with unequal channels, one of them all zero."""
    draw = torch.Generator().manual_seed(5)
    weight = torch.randn(channels, inputs, generator=draw) * torch.exp2(3 * torch.randn(channels, 1, generator=draw))
    weight[2] = 0
    return weight


def test_the_report_is_torchs(page):
    weight = layer()
    sizes = block_sizes(weight)
    who = [PerTensor(), ChannelGroups(6), PerChannel(), PerGroup(3)]
    calls = [(size, granularity, bits) for size, granularity in zip(sizes, who, strict=True) for bits in range(2, 9)]
    source = bundle("sharing_maths.js") + "export { sharedReport };"
    got = page.evaluate(CALL, [source, weight.flatten().tolist(), [[size, 12, bits] for size, _, bits in calls]])
    for (size, granularity, bits), report in zip(calls, got, strict=True):
        quantizer = Affine.fit(weight, Scheme(bits, granularity=granularity))
        codes = quantizer.encode(weight)
        assert [block["params"]["scale"] for block in report["blocks"]] == quantizer.scale.flatten().tolist()
        assert report["mse"] == pytest.approx((weight.double() - codes.dequantize().double()).square().mean().item(), rel=1e-12)
        assert report["bitsPerWeight"] == pytest.approx(8 * (codes.nbytes - (144 * bits + 7) // 8) / 144 + bits)
        runs = codes.codes.reshape(-1, min(size, 12)).int()
        assert report["reached"] == (runs.amax(1) - runs.amin(1) + 1).tolist()


@pytest.mark.parametrize(("shape", "sizes"), [((32, 1, 3, 3), [288, 36, 9, 3]), ((20, 1, 5, 5), [500, 100, 25, 5]), ((7, 11), [77, 11, 11, 1])])
def test_blocks_nest_and_divide(shape, sizes):
    assert block_sizes(torch.zeros(shape)) == sizes


@pytest.mark.parametrize(("layers", "error"), [
    ({}, ValueError), ({"w": torch.zeros(5)}, ValueError), ({"w": torch.zeros(70, 70)}, ValueError), ({"w": torch.ones(2, 2).int()}, TypeError),
    ({"w": torch.full((2, 2), torch.nan)}, ValueError)])
def test_what_cannot_be_shown_is_refused(layers, error):
    with pytest.raises(error, match="expected"):
        ScaleSharing(layers)


@pytest.fixture(scope="module")
def widgets():
    return [ScaleSharing({"unequal": layer(), "small": layer(5, 9)})]


def test_every_control_works_and_the_words_follow(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page)[0]
        assert "1 scale for 144 weights" in widget.locator(".qt-words").inner_text()
        assert "All-zero channels: 1" in widget.locator(".qt-words").inner_text()
        assert move_everything(watched.page, widget) >= 5
        assert watched.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_themes(browser, home, scheme):
    with opened(browser, home, scheme=scheme) as watched:
        ready(watched.page)
        assert violations(watched.page, "main") == []


def test_a_phone_needs_no_sideways_scroll(browser, home):
    with opened(browser, home, width=360) as watched:
        widget = ready(watched.page)[0]
        assert sideways_scroll(watched.page) == 0 and widget.evaluate("root => root.scrollWidth - root.clientWidth") <= 0
