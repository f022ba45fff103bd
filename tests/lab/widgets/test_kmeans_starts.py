"""Where k-means starts: the networks are those of the library, the errors are counted, and the picture follows the controls."""

import pytest
import torch
from browsing import called, move_everything, opened, reads_well_on_a_phone, ready
from torch import nn

from qtoolkit.compression import prune_, share_, unshare_
from qtoolkit.lab.data import Digits
from qtoolkit.lab.models import lenet_300_100
from qtoolkit.lab.widgets import KMeansStarts
from qtoolkit.lab.widgets.bundle import bundle
from qtoolkit.lab.widgets.starts import settled
from qtoolkit.quantizers import ForgyInit, density_init, linear_init

STARTS = {"linear": linear_init, "density": density_init, "Forgy": ForgyInit(3)}
WIDTHS, STEPS = (2, 3), (0, 2, 300)


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    model = lenet_300_100(seed=1)
    prune_(model, 0.05)
    return model.eval()


@pytest.fixture(scope="module")
def digits() -> Digits:
    draw = torch.Generator().manual_seed(0)
    return Digits(torch.randint(0, 256, (200, 28, 28), generator=draw, dtype=torch.uint8), torch.randint(0, 10, (200,), generator=draw))


@pytest.fixture(scope="module")
def widget(network, digits):
    return KMeansStarts(network, STARTS, digits, layer="3", name="the middle layer", widths=WIDTHS, steps=STEPS)


def test_settled_is_what_share_does(network):
    shared = unshare_(share_(lenet_300_100(seed=1).eval(), 3))
    again = settled(lenet_300_100(seed=1), 3, linear_init, 300)
    assert all(torch.equal(shared.state_dict()[name], value) for name, value in again.state_dict().items())
    sparse = settled(network, 2, density_init, 300)
    assert all(torch.equal(a == 0, b == 0) for a, b in zip(network.parameters(), sparse.parameters(), strict=True))


def test_no_step_is_the_start_itself(network):
    weight = network[3].weight.detach()
    kept = weight[weight != 0]
    start = torch.linspace(float(kept.min()), float(kept.max()), 7)
    nearest = (kept[:, None] - start).abs().min(1).values
    read = settled(network, 3, linear_init, 0)[3].weight.detach()
    assert torch.allclose((read[weight != 0] - kept).abs(), nearest, atol=1e-6)


def test_one_step_moves_the_start_to_the_means_of_its_members():
    layer = nn.Linear(40, 30)
    weight = torch.randn(30, 40, generator=torch.Generator().manual_seed(2))
    layer.weight.data = weight.clone()
    kept = weight[weight != 0].double()
    start = torch.linspace(float(kept.min()), float(kept.max()), 7, dtype=torch.float64)
    near = (kept[:, None] - start).abs().argmin(1)
    means = torch.stack([kept[near == j].mean() if (near == j).any() else start[j] for j in range(7)])
    again = (kept[:, None] - means).abs().argmin(1)
    read = settled(nn.Sequential(layer), 3, linear_init, 1)[0].weight.detach()
    assert torch.allclose(read[weight != 0].double(), means[again], atol=1e-6)


def test_every_error_is_counted_by_hand(network, digits, widget):
    before = [p.detach().clone() for p in network.parameters()]
    for i, bits in enumerate(WIDTHS):
        for j, (name, init) in enumerate(STARTS.items()):
            for at, steps in enumerate(STEPS):
                answers = settled(network, bits, init, steps)(digits.inputs()).argmax(1)
                wrong = int((answers != digits.labels).sum())
                assert widget.wrong[i][j][at] == wrong
                assert widget.errors[bits][name][at] == pytest.approx(wrong / 2)
    assert widget.total == 200 and sum(widget.counts) == int((network[3].weight != 0).sum())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)), "the model was changed"


def test_the_script_finds_the_centroids_of_every_setting(page, network, widget):
    packed = torch.frombuffer(bytearray(widget.centroids), dtype=torch.float32)
    places = [(i, j, at) for i in range(2) for j in range(3) for at in range(3)]
    calls = [[list(WIDTHS), 3, 3, *place] for place in places]
    found = called(page, bundle("kmeans_starts.js") + "export { centroidRange };", "centroidRange", calls)
    for (i, j, at), (lo, hi) in zip(places, found, strict=True):
        weight = settled(network, WIDTHS[i], list(STARTS.values())[j], STEPS[at])[3].weight.detach()
        assert hi - lo == 2 ** WIDTHS[i] - 1
        assert torch.equal(packed[lo:hi].unique(), weight[weight != 0].unique())
    assert found[-1][1] == len(packed)


def test_how_far_the_outermost_weight_moves(page):
    source = bundle("kmeans_starts.js") + "export { outermostMoves };"
    calls = [[-4, 3, [-3, 0, 3]], [-4, 5, [-4, 4, 6]], [-1, 1, [0]], [-2, 1, [-2, 0]]]
    assert called(page, source, "outermostMoves", calls) == pytest.approx([25, 20, 100, 0])


@pytest.mark.parametrize("wrong", [{"starts": {}}, {"widths": (3, 2)}, {"steps": (0, 0, 1)}, {"steps": ()}])
def test_what_cannot_be_shown_is_refused(network, digits, wrong):
    with pytest.raises(ValueError, match="expected at least one start"):
        KMeansStarts(network, **{"starts": STARTS, "digits": digits, "layer": "3"} | wrong)


@pytest.fixture(scope="module")
def widgets(widget):
    return [widget]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert move_everything(watched.page, ready(watched.page)[0]) > 3
        assert watched.troubles == []


def test_the_words_follow_the_controls(browser, home, widget):
    with opened(browser, home) as watched:
        shown = ready(watched.page)[0]
        words, slider = shown.locator(".qt-words"), shown.get_by_role("slider").first
        assert f"7 values a layer, before the first step of k-means: the network misreads {widget.wrong[1][0][0]} of 200" in words.inner_text()
        slider.focus()
        slider.press("End")
        shown.get_by_label("density").check(force=True)
        assert f"Start: density; 7 values a layer, after 300 steps of k-means: the network misreads {widget.wrong[1][1][2]} of 200" in words.inner_text()
        shown.get_by_role("slider").nth(1).press("Home")
        assert "3 values a layer" in words.inner_text()
        assert shown.locator(".qt-levels line").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme)
