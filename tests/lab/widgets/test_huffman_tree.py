"""The Huffman tree: its arithmetic is the library's, its controls live without a kernel."""

import numpy as np
import pytest
from browsing import move_everything, opened, reads_well_on_a_phone, ready

from qtoolkit.compression import huffman
from qtoolkit.lab.widgets import HuffmanTree
from qtoolkit.lab.widgets.bundle import bundle

SCRIPT = bundle("huffman_maths.js") + "export { huffmanMerges, depthsAfter, entropyOf, leafOrder };"
CALL = """async ([source, lists]) => {
  const m = await import("data:text/javascript," + encodeURIComponent(source));
  return lists.map((counts) => { const steps = m.huffmanMerges(counts);
    return { steps, depths: m.depthsAfter(counts.length, steps, steps.length), none: m.depthsAfter(counts.length, steps, 0), H: m.entropyOf(counts), order: m.leafOrder(counts.length, steps) }; });
}"""
NAMES, REAL = ["filler", "a", "b", "c", "d"], [40, 7, 25, 100, 3]
SOURCES = {"real": REAL, "flat": [35] * 5, "one dominates": [500, 1, 1, 1, 1]}


def test_merges_lengths_and_entropy_are_the_librarys(page):
    draw = np.random.default_rng(0)
    lists = [draw.integers(1, top, size).tolist() for size in range(2, 13) for top in (3, 50, 10_000)] + list(SOURCES.values())
    got = page.evaluate(CALL, [SCRIPT, lists])
    for counts, report in zip(lists, got, strict=True):
        frequencies = np.array(counts)
        assert report["steps"] == [[m.left, m.right, m.node, m.weight] for m in huffman.merges(frequencies)]
        assert report["depths"] == huffman.code_lengths(frequencies).tolist() and set(report["none"]) == {0}
        assert report["H"] == pytest.approx(huffman.entropy(frequencies))
        assert sorted(report["order"]) == list(range(len(counts)))


@pytest.mark.parametrize("make", [lambda: HuffmanTree({"one": [1]}, ["a"]), lambda: HuffmanTree({"zero": [1, 0]}, ["a", "b"]), lambda: HuffmanTree({}, ["a", "b"]),
                                  lambda: HuffmanTree({"short": [1]}, ["a", "b"]), lambda: HuffmanTree(SOURCES, NAMES, at=5), lambda: HuffmanTree({"many": [1] * 13}, ["a"] * 13)])
def test_what_cannot_be_shown_is_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.fixture(scope="module")
def widgets():
    return [HuffmanTree(SOURCES, NAMES, name="test symbols", at=2)]


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
        assert "no merge yet" in words.inner_text() and "the symbol d and the symbol a" in words.inner_text()
        slider.press("ArrowRight")
        assert "Merge 1 of 4" in words.inner_text() and "one node of weight 10." in words.inner_text()
        slider.press("End")
        assert "The tree is complete" in words.inner_text()
        slider.press("ArrowLeft")
        assert "2 nodes are left" in words.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme)
