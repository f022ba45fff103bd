"""Figures for the chapters: each function takes data and returns a matplotlib figure; `show` displays it with a text alternative.

Figures travel as inline SVG without a ground of their own. Their black is the text color of the page, so they read in a light and in
a dark theme. Colors are Okabe and Ito's, told apart by everybody, and dark enough for white and light enough for black.
"""

import io
import re
from html import escape

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import Tensor

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SIZE = (5.4, 2.9)  # inches: letters stay readable when a phone halves the width


def show(figure: Figure, alt: str) -> None:
    """Display `figure` as SVG that follows the theme of the page; `alt` says what there is to see.

    Raises TypeError for what is no figure and ValueError for an `alt` of fewer than 20 characters.

    >>> show(bars(["a", "b"], [1, 2], ylabel="count"), alt="Two bars, the second twice as high as the first.")
    Figure: Two bars, the second twice as high as the first.
    """
    from IPython.display import display

    from qtoolkit.lab.source import in_notebook

    _check(figure, alt)
    plain = f"Figure: {alt}"
    if in_notebook():
        display({"text/html": as_html(figure, alt), "text/plain": plain}, raw=True)
    else:
        print(plain)


def as_html(figure: Figure, alt: str) -> str:
    """The figure as an SVG element with a name for screen readers; the same figure gives the same text."""
    _check(figure, alt)
    for text in (text for axes in figure.axes if axes.images for text in axes.texts):
        if to_hex(text.get_color()) == "#000000":  # chosen for the picture that it lies on, not for the page
            text.set_color("#010101")
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": alt}):
        figure.savefig(buffer, format="svg", transparent=True, dpi=figure.dpi, metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue()[buffer.getvalue().index("<svg"):], flags=re.S)
    svg = svg.replace("stroke: #000000", "stroke: currentColor")
    opening = f'<svg role="img" aria-label="{escape(alt)}" fill="currentColor" style="max-width: 100%; height: auto"'
    return f'<div class="qt-figure">{svg.replace("<svg", opening, 1)}</div>'


def axes(xlabel: str, ylabel: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """An empty figure in the style of the course: labels with units, no box.

    >>> axes("bits", "error (%)")[1].get_ylabel()
    'error (%)'
    """
    figure = Figure(figsize=size, layout="constrained")
    plot = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    plot.spines[["top", "right"]].set_visible(False)
    return figure, plot


def histogram(x: Tensor, xlabel: str, levels: Tensor | None = None, bins: int = 100) -> Figure:
    """How often the numbers x occur, with the levels of a quantizer as orange marks below, if given.

    >>> len(histogram(torch.randn(50), xlabel="weight", levels=torch.tensor([-1.0, 0.0, 1.0])).axes[0].collections)
    1
    """
    numbers = _numbers(x, "x")
    figure, plot = axes(xlabel, "how often")
    plot.hist(numbers.numpy(), bins=bins, color=BLUE)
    if levels is not None:
        marks = _numbers(levels, "levels")
        bottom = -0.09 * plot.get_ylim()[1]
        plot.vlines(marks.numpy(), bottom, 0.25 * bottom, color=ORANGE, label="levels")
        plot.set_ylim(bottom=1.15 * bottom)
        plot.legend(frameon=False)
    return figure


def curve(x: Tensor, y: Tensor, xlabel: str, ylabel: str, band: tuple[float, float] | None = None) -> Figure:
    """y against x as one line, with a shaded band between two heights, if given.

    >>> curve(torch.arange(3.0), torch.arange(3.0), "x", "y").axes[0].lines[0].get_ydata().tolist()
    [0.0, 1.0, 2.0]
    """
    x, y = _numbers(x, "x"), _numbers(y, "y")
    if x.shape != y.shape:
        raise ValueError(f"x has {len(x)} numbers and y {len(y)}, expected as many")
    figure, plot = axes(xlabel, ylabel)
    plot.plot(x.numpy(), y.numpy(), color=BLUE)
    if band is not None:
        plot.axhspan(*band, color=ORANGE, alpha=0.18, linewidth=0)
    return figure


def lines(series: dict[str, tuple], xlabel: str, ylabel: str) -> Figure:
    """One to four lines {name: (x, y)} in one plot, told apart by color and dash; a dozen points or fewer are marked.

    >>> len(lines({"up": ([1, 2], [3, 4]), "down": ([1, 2], [4, 3])}, "x", "y").axes[0].lines)
    2
    """
    if not 1 <= len(series) <= 4:
        raise ValueError(f"given {len(series)} lines, expected 1 to 4: more cannot be told apart")
    figure, plot = axes(xlabel, ylabel)
    for (name, (x, y)), color, dash, mark in zip(series.items(), (BLUE, ORANGE, GREEN, PURPLE), ("-", "--", ":", "-."), "os^D"):
        x, y = _numbers(x, name), _numbers(y, name)
        if x.shape != y.shape:
            raise ValueError(f"'{name}' has {len(x)} numbers x and {len(y)} numbers y, expected as many")
        plot.plot(x.numpy(), y.numpy(), dash + mark * (len(x) <= 12), color=color, label=name)
    plot.legend(frameon=False)
    return figure


def error_against_bits(bits: list[int], error_percent: Tensor, noise: Tensor) -> Figure:
    """Test error (linear, left) and mean squared error of the weights (logarithmic, right) against the bit width, most bits first.

    >>> [plot.get_ylabel() for plot in error_against_bits([8, 4], [1.0, 2.0], [0.1, 0.4]).axes]
    ['test error (%)', 'mean squared error of the weights']
    """
    error, mse = _numbers(error_percent, "error_percent"), _numbers(noise, "noise")
    if not len(bits) == len(error) == len(mse):
        raise ValueError(f"given {len(bits)} bit widths, {len(error)} errors and {len(mse)} noises, expected as many of each")
    figure, left = axes("bits of a weight", "test error (%)")
    left.plot(bits, error.numpy(), "o-", color=BLUE, label="test error (left)")
    right = left.twinx()
    right.set(yscale="log", ylabel="mean squared error of the weights")
    right.plot(bits, mse.numpy(), "s--", color=ORANGE, label="mean squared error (right)")
    right.spines["top"].set_visible(False)
    left.set(xticks=list(bits), ylim=(0, None))
    left.invert_xaxis()
    left.legend(handles=[*left.lines, *right.lines], frameon=False, loc="upper left")
    return figure


def bars(names: list[str], values: Tensor, ylabel: str, marked: int | None = None) -> Figure:
    """One bar for each name, its value above it; the one at index `marked` in orange.

    >>> [float(bar.get_height()) for bar in bars(["float32", "int8"], [4.0, 1.0], ylabel="bytes").axes[0].patches]
    [4.0, 1.0]
    """
    heights = _numbers(values, "values")
    if len(names) != len(heights):
        raise ValueError(f"given {len(names)} names and {len(heights)} values, expected as many")
    figure, plot = axes("", ylabel)
    shown = plot.bar(names, heights.numpy(), color=[ORANGE if i == marked else BLUE for i in range(len(names))], width=0.65)
    plot.bar_label(shown, fmt="{:,.4g}", padding=2)
    return figure


def _check(figure: Figure, alt: str) -> None:
    if not isinstance(figure, Figure):
        raise TypeError(f"show takes a matplotlib Figure, given a {type(figure).__name__}")
    if len(alt.strip()) < 20:
        raise ValueError(f"alt is {alt!r}, expected a sentence that says what there is to see")


def _numbers(x, name: str) -> Tensor:
    """x flat in float64; ValueError unless there is at least one number and all are finite."""
    numbers = torch.as_tensor(x).detach().flatten().to(torch.float64).cpu()
    if not len(numbers) or not bool(torch.isfinite(numbers).all()):
        raise ValueError(f"{name} is empty or holds NaN or infinity, expected at least one finite number")
    return numbers
