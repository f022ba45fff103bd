"""Pull the threshold: what it carries is the library's masks and a counted error, and its picture follows the controls."""

import pytest
import torch
from browsing import called, move_everything, opened, reads_well_on_a_phone, ready
from torch import nn

from qtoolkit.compression.pruning import layer_masks, magnitude
from qtoolkit.lab.data import Digits
from qtoolkit.lab.models import lenet_300_100
from qtoolkit.lab.widgets import PullTheThreshold
from qtoolkit.lab.widgets.bundle import bundle

SETTINGS = (0.0, 0.02, 0.04, 0.08)


def _digits() -> Digits:
    draw = torch.Generator().manual_seed(0)
    return Digits(torch.randint(0, 256, (60, 28, 28), generator=draw, dtype=torch.uint8), torch.randint(0, 10, (60,), generator=draw))


def _rules(model: nn.Module) -> dict:
    scores = magnitude(model)
    return {"one threshold": {f"{t:.2f}": {name: score > t for name, score in scores.items()} for t in SETTINGS},
            "same density": {f"{d:.0%}": layer_masks(scores, d) for d in (1.0, 0.5, 0.1, 0.0)}}


@pytest.fixture(scope="module")
def network():
    return lenet_300_100(seed=1)


@pytest.fixture(scope="module")
def widget(network):
    return PullTheThreshold(network, _rules(network), _digits())


def test_every_step_is_counted_by_hand(network, widget):
    digits = _digits()
    before = [p.detach().clone() for p in network.parameters()]
    layers = [network[1], network[3], network[5]]
    for setting, cuts, kept, wrong in widget.rules[0][1]:
        h, t = digits.inputs().flatten(1), torch.tensor(float(setting))
        for i, layer in enumerate(layers):
            w = layer.weight.detach()
            zeroed = w * (w.abs() > t)
            assert kept[i] == int((zeroed != 0).sum())
            assert cuts[i] <= float(t) + 1e-5 and (cuts[i] == 0) == (float(t) == 0)
            h = h @ zeroed.T + layer.bias.detach()
            h = h.relu() if i < 2 else h
        assert wrong == int((h.argmax(1) != digits.labels).sum())
    assert widget.rules[1][1][1][2] == [117600, 15000, 500] and widget.rules[1][1][3][2] == [0, 0, 0]
    assert widget.dense == widget.rules[0][1][0][3] and widget.total == 60
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)), "the model was changed"


def test_the_bars_count_the_weights_in_sight(network, widget):
    edges = torch.tensor(widget.edges)
    assert len(edges) == 61 and edges[-1] > max(cut for _, rows in widget.rules for row in rows for cut in row[1])
    for counts, layer in zip(widget.counts, (network[1], network[3], network[5]), strict=True):
        seen = layer.weight.detach().abs() <= float(edges[-1])
        assert abs(sum(counts) - int(seen.sum())) <= 2
        assert len(counts) == 60


@pytest.mark.parametrize("spoil", [lambda rules: {}, lambda rules: {"one": dict(list(rules["one threshold"].items())[:1])},
                                   lambda rules: {**rules, "short": dict(list(rules["one threshold"].items())[:2])},
                                   lambda rules: {"part": {key: {"1": masks["1"]} for key, masks in rules["one threshold"].items()}}])
def test_what_cannot_be_shown_is_refused(network, spoil):
    with pytest.raises(ValueError, match="expected"):
        PullTheThreshold(network, spoil(_rules(network)), _digits())


def test_too_many_layers_are_refused():
    deep = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), *(nn.Linear(10, 10) for _ in range(4)))
    rules = {"a": {str(k): {name: score > k for name, score in magnitude(deep).items()} for k in (0, 1)}}
    with pytest.raises(ValueError, match="5 layers"):
        PullTheThreshold(deep, rules, _digits())


@pytest.mark.parametrize(("bar", "cut", "expected"), [
    ((-0.1, 0.1), 0.05, [[-0.1, -0.05, True], [-0.05, 0.05, False], [0.05, 0.1, True]]),
    ((0.1, 0.2), 0.15, [[0.1, 0.15, False], [0.15, 0.2, True]]),
    ((-0.2, -0.1), 0.15, [[-0.2, -0.15, True], [-0.15, -0.1, False]]),
    ((0.1, 0.2), 0.3, [[0.1, 0.2, False]]),
    ((-0.2, -0.1), 0.05, [[-0.2, -0.1, True]]),
    ((0.0, 0.1), 0.0, [[0.0, 0.1, True]]),
    ((0.1, 0.2), 0.1, [[0.1, 0.2, True]]),
])
def test_a_bar_is_cut_at_the_threshold(page, bar, cut, expected):
    assert called(page, bundle("threshold.js") + "export { pieces };", "pieces", [[*bar, cut]]) == [expected]


@pytest.fixture(scope="module")
def widgets(widget):
    return [widget]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert move_everything(watched.page, ready(watched.page)[0]) > 2
        assert watched.troubles == []


def test_the_words_follow_the_keyboard(browser, home, widget):
    with opened(browser, home) as watched:
        shown = ready(watched.page)[0]
        words, slider = shown.locator(".qt-words"), shown.get_by_role("slider")
        assert "266,200 of 266,200 weights stay" in words.inner_text()
        slider.focus()
        slider.press("End")
        kept = sum(widget.rules[0][1][3][2])
        assert f"one threshold, 0.08. {kept:,} of 266,200 weights stay" in words.inner_text()
        assert shown.locator("rect[fill=none]").count() > 20
        shown.get_by_label("same density").check(force=True)
        assert "same density, 0%. 0 of 266,200 weights stay" in words.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme)
