"""Code books in the browser: their arithmetic is torch's, what they carry is what they were given, every control moves something."""

import numpy as np
import pytest
import torch
from browsing import called, move_everything, opened, ready, sideways_scroll, violations

from qtoolkit import Affine, PerChannel, Scheme
from qtoolkit.lab.widgets import GridLevels, KMeansSettles
from qtoolkit.lab.widgets.bundle import ESM
from qtoolkit.lab.widgets.codebooks import INNER, TAIL, one_table, sketch_weights
from qtoolkit.lab.widgets.number_line import sketch
from qtoolkit.quantizers import APoT, Codebook, KMeans, PowerOfTwo, kmeans, midpoints, optimal_kmeans

GRIDS = {"uniform": lambda x, bits: Affine.fit(x, Scheme(bits=bits)), "power of two": lambda x, bits: Codebook.fit(x, PowerOfTwo(bits)),
         "APoT": lambda x, bits: Codebook.fit(x, APoT(bits)), "k-means": lambda x, bits: Codebook.fit(x, KMeans(2**bits))}


def numbers(count: int = 4000, seed: int = 0) -> torch.Tensor:
    return torch.distributions.Laplace(0.0, 1.0).icdf(torch.rand(count, generator=torch.Generator().manual_seed(seed)).clamp(1e-6, 1 - 1e-6))


def call(page, name: str, calls: list) -> list:
    """codebooks.js's function `name`, called in the page with each of the argument lists."""
    return called(page, (ESM / "codebooks.js").read_text(), name, calls)


def test_cells_are_torchs_ties_included(page):
    boundaries = torch.tensor([-1.0, 0.0, 0.0, 0.5, 2.0])
    x = torch.tensor([-3.0, -1.0, -0.9, 0.0, 0.2, 0.5, 0.7, 2.0, 9.0])
    expected = torch.bucketize(x, boundaries, right=True).tolist()
    assert call(page, "cellOf", [[value, boundaries.tolist()] for value in x.tolist()]) == expected
    assert call(page, "cellOf", [[1.0, []]]) == [0]


def test_the_report_is_that_of_the_quantizer(page):
    x = numbers()
    for name, fit in GRIDS.items():
        quantizer = fit(x, 3)
        levels, boundaries = one_table(quantizer)
        report = call(page, "codebookReport", [[x.tolist(), [1] * len(x), levels.tolist(), boundaries.tolist()]])[0]
        assert report["mse"] == pytest.approx((quantizer.fake(x).double() - x.double()).square().mean().item(), rel=1e-5), name
        codes = quantizer.encode(x).codes.int()
        codes = codes - quantizer.scheme.qmin if isinstance(quantizer, Affine) else codes
        assert report["shares"] == pytest.approx((torch.bincount(codes, minlength=len(levels)) / len(x)).tolist(), abs=1e-3), name


def test_a_number_of_weight_three_counts_three_times(page):
    once, thrice = call(page, "codebookReport", [[[0.3, 2.0], [3, 1], [0.0, 1.0], [0.5]], [[0.3, 0.3, 0.3, 2.0], [1] * 4, [0.0, 1.0], [0.5]]])
    assert once["shares"] == pytest.approx(thrice["shares"]) and once["mse"] == pytest.approx(thrice["mse"])
    assert once["mse"] == pytest.approx((3 * 0.09 + 1) / 4)


@pytest.mark.parametrize("k", [2, 5, 16])
def test_lloyds_steps_are_torchs(page, k):
    x = numbers(600, seed=k).sort().values
    weights = torch.randint(1, 9, (600,), generator=torch.Generator().manual_seed(k)).double()
    start = torch.linspace(-2, 3, k).double()
    trace = call(page, "lloydTrace", [[x.tolist(), weights.tolist(), start.tolist(), 300]])[0]
    clusters = kmeans(x[None], k, lambda rows, k: start[None], weights[None])
    assert [state["error"] for state in trace] == pytest.approx(clusters.errors[:len(trace), 0].tolist(), rel=1e-9)
    assert trace[-1]["centroids"] == pytest.approx(clusters.centroids[0].tolist(), rel=1e-5, abs=1e-7)
    assert len(trace) == len(clusters.errors) - 1, "stops when torch stops"


def test_an_empty_cell_keeps_its_centroid(page):
    trace = call(page, "lloydTrace", [[[0.0, 1.0, 2.0], [1, 1, 1], [1.0, 50.0], 9]])[0]
    assert trace[-1]["centroids"] == [1.0, 50.0]


def test_grid_levels_carry_every_table():
    shown = GridLevels({"a": 7 * numbers(9000), "b": numbers(100)}, GRIDS, grid="APoT", source="b")
    tables = np.frombuffer(shown.tables, "<f4")
    assert len(tables) == sum(2 * size - 1 for size in shown.sizes) and len(shown.sizes) == 2 * 4 * len(GRIDS)
    assert shown.sizes[:4] == [4, 4, 3, 4] and (shown.grid, shown.source, shown.bits) == (2, 1, 4)
    levels, boundaries = one_table(GRIDS["uniform"](numbers(9000) / numbers(9000).square().mean().sqrt(), 2))
    assert tables[:7] == pytest.approx(torch.cat([levels, boundaries]).numpy(), rel=1e-5)
    assert shown.lengths == [2 * TAIL + INNER, 100] and len(shown.values) == 4 * sum(shown.lengths)
    assert 0.99 * 9000 < sum(shown.counts[0]) <= shown.totals[0] == 9000


def test_few_numbers_have_the_error_of_all():
    x = numbers(200_000)
    few, inner = sketch(x, TAIL, INNER)
    weights = sketch_weights(len(few), inner)
    for name, fit in GRIDS.items():
        quantizer = fit(x, 5)
        exact = (quantizer.fake(x) - x).square().mean().item()
        assert (weights * (quantizer.fake(few) - few).square()).sum() / weights.sum() == pytest.approx(exact, rel=0.05), name


def test_kmeans_settles_carries_starts_and_the_optimum():
    x = numbers(30_000)
    shown = KMeansSettles(x.reshape(100, 300), name="w", bits=2, widths=(1, 2))
    tables, values = np.frombuffer(shown.tables, "<f4"), torch.from_numpy(np.frombuffer(shown.values, "<f4").copy())
    assert len(tables) == 4 * 2 + 4 * 4 and shown.starts == ["linear", "density", "Forgy"] and sum(shown.counts) == shown.total == 30_000
    assert tables[:2].tolist() == [x.min().item(), x.max().item()]
    weights = sketch_weights(len(values), shown.inner)
    assert weights.sum() == 30_000
    assert tables[6:8] == pytest.approx(optimal_kmeans(values[None], 2, weights[None]).centroids[0].numpy())
    assert tables[6:8] == pytest.approx(optimal_kmeans(x[None], 2).centroids[0].numpy(), rel=0.02)
    assert (np.diff(tables[12:16]) >= 0).all() and tables[12] > x.min()


@pytest.mark.parametrize("make", [
    lambda: GridLevels({"a": numbers(9)}, GRIDS, bits=7), lambda: GridLevels({"a": numbers(9)}, GRIDS, grid="other"),
    lambda: GridLevels({"a": torch.tensor([torch.nan])}, GRIDS), lambda: KMeansSettles(numbers(9), bits=9), lambda: KMeansSettles(torch.empty(0)),
    lambda: one_table(Codebook.fit(torch.randn(2, 8), KMeans(2), PerChannel()))])
def test_what_cannot_be_shown_is_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_midpoints_are_the_boundaries_of_a_ruler():
    levels, boundaries = one_table(Affine.fit(numbers(), Scheme(bits=3)))
    assert torch.equal(boundaries, midpoints(levels)) and len(levels) == 8


@pytest.fixture(scope="module")
def widgets():
    return [GridLevels({"a bell": numbers(), "another": numbers(seed=1).square()}, GRIDS), KMeansSettles(numbers(), name="weights")]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert [move_everything(watched.page, widget) for widget in ready(watched.page, 2)] == [8, 7]
        assert watched.troubles == []


def test_the_words_say_what_the_picture_shows(browser, home):
    with opened(browser, home) as watched:
        grids, settles = ready(watched.page, 2)
        assert grids.locator(".qt-words").inner_text().startswith("uniform at 4 bits on a bell: 16 levels")
        settles.locator("input[type=range]").first.focus()
        watched.page.keyboard.press("End")
        assert "It settled after" in settles.locator(".qt-words").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker(browser, home, scheme):
    with opened(browser, home, scheme=scheme) as watched:
        ready(watched.page, 2)
        assert violations(watched.page, "main") == []


def test_a_phone_needs_no_sideways_scroll(browser, home):
    with opened(browser, home, width=360) as watched:
        widgets = ready(watched.page, 2)
        assert sideways_scroll(watched.page) == 0
        for widget in widgets:
            assert widget.evaluate("root => root.scrollWidth - root.clientWidth") <= 0, widget.get_attribute("aria-label")
