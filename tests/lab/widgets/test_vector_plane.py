"""Pairs of weights in the browser: k-means is torch's, cells are those of the nearest word, every control moves something."""

import numpy as np
import pytest
import torch
from browsing import WIDGET, called, move_everything, opened, ready, served, sideways_scroll, violations, widget_page

from qtoolkit.lab.widgets import VectorPlane
from qtoolkit.lab.widgets.bundle import ESM
from qtoolkit.lab.widgets.vector_plane import PAIRS, axis_levels
from qtoolkit.quantizers import nearest, vector_kmeans



def cloud(count: int = 3000, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed)) @ torch.tensor([[1.0, 0.8], [0.0, 0.4]])


def call(page, name: str, *arguments):
    return called(page, (ESM / "plane_maths.js").read_text(), name, [list(arguments)])[0]


@pytest.mark.parametrize("k", [2, 9, 25])
def test_the_steps_are_torchs(page, k):
    points, start = cloud(400, seed=k).double(), cloud(k, seed=99).double()
    trace = call(page, "planeTrace", points.tolist(), start.tolist(), 6)
    for steps, state in enumerate(trace):
        words = vector_kmeans(points, start, steps=steps)
        assert np.allclose(state["words"], words.numpy(), atol=1e-9)
        codes = nearest(points, words)
        assert state["codes"] == codes.tolist()
        assert state["error"] == pytest.approx((points - words[codes]).square().mean().item())


def test_an_empty_cell_keeps_its_word_and_a_settled_trace_ends(page):
    trace = call(page, "planeTrace", [[0.0, 0.0], [1.0, 1.0]], [[0.5, 0.5], [99.0, 99.0]], 9)
    assert trace[-1]["words"] == [[0.5, 0.5], [99.0, 99.0]] and len(trace) == 2


def test_a_point_is_in_the_cell_of_its_nearest_word(page):
    from matplotlib.path import Path

    words, points = cloud(7, seed=3).double(), 4 * torch.rand(300, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 2
    cells = [Path(np.array(call(page, "cellOfWord", words.tolist(), i, 2.0))) for i in range(len(words))]
    owners = np.array([cell.contains_points(points.numpy()) for cell in cells])
    assert (owners.sum(0) == 1).all() and (owners.argmax(0) == nearest(points, words).numpy()).all()


def test_the_widget_carries_its_pairs_and_the_best_scalar_levels():
    shown = VectorPlane({"a": cloud(), "b": cloud(seed=1)}, "weights", total=6000, levels=(2, 3), start=2)
    pairs, axes = (np.frombuffer(part, "<f4") for part in (shown.pairs, shown.axes))
    assert len(pairs) == 2 * 2 * PAIRS and len(axes) == 2 * 2 * (2 + 3)
    sample = torch.from_numpy(pairs[: 2 * PAIRS].copy()).reshape(-1, 2)
    assert (sample[:, None] == cloud()[None]).all(2).any(1).all(), "every pair is one of those given"
    first = sample[:, 0]
    assert axes[:2] == pytest.approx([first[first < axes[:2].mean()].mean().item(), first[first >= axes[:2].mean()].mean().item()], abs=1e-5)
    assert torch.equal(axis_levels(sample, 3), torch.from_numpy(axes[4:10].copy()).reshape(2, 3))


@pytest.mark.parametrize("make", [
    lambda: VectorPlane({"a": cloud()}, "w", total=9, start=7), lambda: VectorPlane({"a": torch.zeros(4, 3)}, "w", total=9),
    lambda: VectorPlane({"a": torch.tensor([[torch.nan, 1.0]])}, "w", total=9), lambda: VectorPlane({"a": cloud()}, "w", total=0)])
def test_what_cannot_be_shown_is_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_every_control_works_and_nothing_is_wrong_with_the_page(browser, tmp_path):
    widget_page(tmp_path, [VectorPlane({"neighbors": cloud(), "shuffled": cloud().flatten()[torch.randperm(6000)].reshape(-1, 2)}, "weights", total=6000)])
    with served(tmp_path) as home, opened(browser, home) as watched:
        assert move_everything(watched.page, ready(watched.page)[0]) > 3
        assert watched.troubles == [] and sideways_scroll(watched.page) <= 0 and violations(watched.page, WIDGET) == []
