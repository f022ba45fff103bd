"""Figures show the data they were given, in colors of the page, with a name for those who cannot see them."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from matplotlib.figure import Figure

from qtoolkit.lab import figures

ALT = "A line that rises from left to right."


def _svg(figure: Figure, alt: str = ALT) -> str:
    return re.search(r"<svg.*</svg>", figures.as_html(figure, alt), flags=re.S)[0]


def test_a_histogram_counts_every_number():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)).reshape(10, 100)
    levels = torch.tensor([-1.0, 0.0, 1.0])
    plot = figures.histogram(x, xlabel="weight", levels=levels, bins=20).axes[0]
    counts, _ = torch.histogram(x.flatten(), bins=20, range=(x.min().item(), x.max().item()))
    assert [bar.get_height() for bar in plot.patches] == counts.tolist()
    assert [segment[0][0] for segment in plot.collections[0].get_segments()] == levels.tolist()
    assert plot.get_xlabel() == "weight" and plot.get_ylabel()


def test_a_curve_and_its_band():
    plot = figures.curve(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]), "x", "y", band=(-0.5, 0.5)).axes[0]
    assert plot.lines[0].get_xydata().tolist() == [[0, 2], [1, 3]]
    assert {*plot.patches[0].get_extents().transformed(plot.transData.inverted()).intervaly.round(6).tolist()} == {-0.5, 0.5}


def test_error_against_bits_has_two_axes_and_most_bits_first():
    left, right = figures.error_against_bits([8, 4, 2], torch.tensor([1.0, 2.0, 70.0]), torch.tensor([0.001, 0.02, 0.3])).axes
    assert left.lines[0].get_ydata().tolist() == [1, 2, 70] and right.get_yscale() == "log"
    assert right.lines[0].get_ydata().tolist() == pytest.approx([0.001, 0.02, 0.3])
    assert left.xaxis_inverted()


def test_lines_are_told_apart_without_color_and_few_points_are_marked():
    plot = figures.lines({"up": ([1, 2], [3, 4]), "down": (torch.arange(30.0), -torch.arange(30.0))}, "x", "y").axes[0]
    up, down = plot.lines
    assert up.get_xydata().tolist() == [[1, 3], [2, 4]] and down.get_ydata()[-1] == -29
    assert up.get_color() != down.get_color() and up.get_linestyle() != down.get_linestyle()
    assert up.get_marker() == "o" and down.get_marker() == "None"
    assert [text.get_text() for text in plot.get_legend().get_texts()] == ["up", "down"]


@pytest.mark.parametrize("count", [0, 5])
def test_no_lines_and_too_many_are_refused(count):
    with pytest.raises(ValueError, match="1 to 4"):
        figures.lines({str(i): ([1], [2]) for i in range(count)}, "x", "y")


def test_bars_mark_one():
    bars = figures.bars(["a", "b"], [1.0, 2.0], ylabel="bytes", marked=1).axes[0].patches
    assert [bar.get_height() for bar in bars] == [1, 2]
    assert bars[0].get_facecolor() != bars[1].get_facecolor()


@pytest.mark.parametrize("make", [
    lambda x: figures.histogram(x, "x"), lambda x: figures.curve(x, x, "x", "y"), lambda x: figures.bars([str(i) for i in range(len(x))], x, "y"),
    lambda x: figures.error_against_bits(list(range(len(x))), x, x), lambda x: figures.lines({"a": (x, x)}, "x", "y")])
@pytest.mark.parametrize("x", [torch.empty(0), torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf])])
def test_no_figure_of_nothing_or_of_nan(make, x):
    with pytest.raises(ValueError, match="expected"):
        make(x)


@pytest.mark.parametrize("make", [
    lambda: figures.curve(torch.ones(2), torch.ones(3), "x", "y"), lambda: figures.bars(["a"], [1, 2], "y"),
    lambda: figures.error_against_bits([8], [1, 2], [1, 2]), lambda: figures.lines({"a": ([1], [1, 2])}, "x", "y")])
def test_lengths_must_agree(make):
    with pytest.raises(ValueError, match="expected as many"):
        make()


def test_the_picture_follows_the_theme_and_has_a_name():
    svg = _svg(figures.bars(["a", "b"], [1, 2], ylabel="bytes"))
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label") == ALT and root.get("fill") == "currentColor"
    assert "#000000" not in svg and "currentColor" in svg.replace('fill="currentColor"', "")
    assert "#ffffff" not in svg.lower() and "<text" in svg


def test_letters_on_a_picture_keep_their_color():
    figure, plot = figures.axes("x", "y")
    plot.text(0, 0, "on a bright cell", color="black")
    assert "#010101" not in _svg(figure), "beside a picture letters take the color of the page"
    plot.imshow([[0, 1]])
    assert "fill: #010101" in _svg(figure)


def test_the_same_figure_gives_the_same_text():
    make = lambda: _svg(figures.curve(torch.arange(4.0), torch.arange(4.0), "x", "y"))  # noqa: E731
    assert make() == make()


def test_quotes_in_a_text_alternative_are_safe():
    root = ElementTree.fromstring(_svg(figures.bars(["a"], [1], "y"), 'It says "a < b" & more than that.'))
    assert root.get("aria-label") == 'It says "a < b" & more than that.'


@pytest.mark.parametrize(("figure", "alt", "error"), [(None, ALT, TypeError), (Figure(), "short", ValueError), (Figure(), " " * 30, ValueError)])
def test_a_figure_without_a_sentence_is_refused(figure, alt, error):
    with pytest.raises(error):
        figures.show(figure, alt)
