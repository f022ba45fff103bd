"""Write the gap, meet the filler: its arithmetic is the library's, its controls live without a kernel."""

import pytest
import torch
from browsing import move_everything, opened, reads_well_on_a_phone, ready

from qtoolkit.compression.sparse_index import relative_index
from qtoolkit.lab.widgets import GapAndFiller
from qtoolkit.lab.widgets.bundle import bundle

SCRIPT = bundle("gap_maths.js") + "export { storedPairs, layerCost };"
CALL = """async ([source, rows, tables]) => {
  const m = await import("data:text/javascript," + encodeURIComponent(source));
  const all = [2, 3, 4, 5, 6, 7, 8];
  return { pairs: rows.map((row) => all.map((b) => m.storedPairs(row, b))), costs: tables.map((t) => all.map((b) => m.layerCost(t, b, 6))) };
}"""
ROW = [0, 3, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0]


def _sparse(size: int, density: float, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.where(torch.rand(size, generator=draw) < density, torch.randint(1, 100, (size,), generator=draw), 0)


def _layers() -> dict[str, torch.Tensor]:
    return {"thin": _sparse(6000, 0.01, 0).float().reshape(60, 100), "thick": _sparse(600, 0.3, 1).float()}


def test_pairs_and_layer_costs_are_the_librarys(page):
    edges = [[0] * n + [5] for n in (0, 3, 4, 7, 8, 15, 16, 31, 63)] + [[1, 0, 0, 0, 0, 2, 0, 0], [1, 1, 1]]
    rows = [ROW, *edges, *(_sparse(300, d, s).tolist() for s, d in enumerate((0.01, 0.05, 0.2, 0.9)))]
    layers = _layers()
    got = page.evaluate(CALL, [SCRIPT, rows, GapAndFiller(ROW, layers).distances])
    for row, by_bits in zip(rows, got["pairs"], strict=True):
        for bits, pairs in enumerate(by_bits, 2):
            stored = relative_index(torch.tensor(row), bits)
            assert ([p["gap"] for p in pairs], [p["value"] for p in pairs]) == (stored.gaps.tolist(), stored.values.tolist())
            assert [p["place"] for p in pairs] == (stored.gaps.cumsum(0) - 1).tolist()
            assert sum(p["filler"] for p in pairs) == stored.fillers
    for weight, by_bits in zip(layers.values(), got["costs"], strict=True):
        for bits, cost in enumerate(by_bits, 2):
            stored = relative_index(weight, bits)
            assert cost == {"kept": int((weight != 0).sum()), "fillers": stored.fillers, "bits": stored.gaps.numel() * (bits + 6)}


@pytest.mark.parametrize("change", [{"row": []}, {"row": [0, 0]}, {"row": [1] * 65}, {"row": [100]}, {"row": [-1]}, {"bits": 1}, {"bits": 9},
                                    {"weight_bits": 0}, {"layers": {}}, {"layers": {"empty": torch.zeros(4)}}])
def test_what_cannot_be_shown_is_refused(change):
    with pytest.raises(ValueError, match="expected"):
        GapAndFiller(**{"row": ROW, "layers": _layers(), **change})


@pytest.fixture(scope="module")
def widgets():
    return [GapAndFiller(ROW, _layers())]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert move_everything(watched.page, ready(watched.page)[0]) > 2
        assert watched.troubles == []


def test_the_words_follow_the_keyboard(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page)[0]
        words, slider = widget.locator(".qt-words"), widget.get_by_role("slider")
        slider.focus()
        slider.press("Home")
        assert "1 to 4 places" in words.inner_text() and "5 pairs, 2 fillers among them: 5 × (2 + 6) = 40 bits" in words.inner_text()
        slider.press("ArrowRight")
        assert "1 to 8 places" in words.inner_text() and "4 pairs, 1 filler among them" in words.inner_text()
        slider.press("End")
        assert "1 to 256 places" in words.inner_text() and "3 pairs, 0 fillers among them" in words.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme)
