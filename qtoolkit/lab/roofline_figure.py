"""A roofline drawn: the limits of a machine as lines, measured operators as points."""

from __future__ import annotations

from matplotlib.figure import Figure

from qtoolkit.kernels.roofline import roof
from qtoolkit.lab.figures import BLUE, GREEN, ORANGE, axes

SHOWN = ("256 KiB", "16 MiB", "128 MiB")


def roofline(limits: dict, points: list[dict], names: bool = True) -> Figure:
    """Limits as `ladder.limits` gives them; points with name, intensity and gmacs, drawn in orange, named beside if `names`.

    >>> from qtoolkit.lab.results import load
    >>> recorded = load("kernel-ladder")
    >>> len(roofline(recorded["limits"], recorded["batches"]).axes[0].collections)
    1
    """
    figure, plot = axes("multiply-adds for each byte", "G multiply-adds a second", size=(5.8, 3.6))
    peak, reach = limits["int8"][limits["isa"]], [2.0 ** (i / 16) for i in range(-48, 145)]
    for size, style in zip(SHOWN, ("-", "--", ":")):
        gigabytes = limits["read"][size]
        plot.plot(reach, [roof(i, peak, gigabytes) for i in reach], style, color=BLUE, label=f"weights in {size}: {gigabytes:.0f} GB/s")
    plot.axhline(limits["float"], color=GREEN, linewidth=1, label=f"float32 peak: {limits['float']:.0f} G/s")
    plot.scatter([p["intensity"] for p in points], [p["gmacs"] for p in points], color=ORANGE, zorder=3)
    for point in _apart(points) if names else []:
        left = point["intensity"] < 8
        plot.annotate(point["name"], (point["intensity"], point["gmacs"]), (7 if left else -6, -9), textcoords="offset points",
                      ha="left" if left else "right", va="center", fontsize=8)
    plot.set(xscale="log", yscale="log", xlim=(reach[0], reach[-1]))
    plot.set_ylim(bottom=0.4 * min([roof(reach[0], peak, limits["read"][SHOWN[-1]]), *(p["gmacs"] for p in points)]))
    plot.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _apart(points: list[dict]) -> list[dict]:
    """Points whose names do not cover each other, higher ones first."""
    named: list[dict] = []
    for point in sorted(points, key=lambda p: (-p["gmacs"], len(p["name"]))):
        if all(other["gmacs"] > 1.3 * point["gmacs"] or max(other["intensity"], point["intensity"]) > 8 * min(other["intensity"], point["intensity"])
               for other in named):
            named.append(point)
    return named
