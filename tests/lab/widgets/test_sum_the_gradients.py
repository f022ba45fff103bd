"""Sum the gradients: what it carries is autograd's gradient and a measured loss; the script adds up as the library does."""

import copy

import pytest
import torch
from browsing import called, move_everything, opened, reads_well_on_a_phone, ready
from torch import nn
from torch.nn import functional as F

from qtoolkit.compression import share_
from qtoolkit.compression.weight_sharing import centroid_gradient
from qtoolkit.lab.widgets import SumTheGradients
from qtoolkit.lab.widgets.bundle import bundle

X = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 5, (64,), generator=torch.Generator().manual_seed(1))
SCRIPT = bundle("sum_gradients.js") + "export { gathered, lossAt };"


def _loss(model: nn.Module) -> torch.Tensor:
    return F.cross_entropy(model(X), Y)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return share_(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5)), 2)


@pytest.fixture(scope="module")
def widget(network):
    return SumTheGradients(network, "2", _loss, "64 points")


def _floats(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.float32)


def test_the_script_sums_what_autograd_gives_the_value(page, network, widget):
    values = network[2].parametrizations.weight.original
    autograd = torch.autograd.grad(_loss(network), values)[0]
    gradients, codes = _floats(widget.gradients), list(widget.codes)
    found = called(page, SCRIPT, "gathered", [[codes, gradients.tolist(), code] for code in (1, 2, 3)])
    sums = torch.tensor([one["sum"] for one in found])
    assert torch.allclose(sums, autograd, atol=1e-6)
    assert torch.allclose(sums, centroid_gradient(gradients, torch.tensor(codes), 4)[1:], atol=1e-6)
    for code, one in enumerate(found, 1):
        mine = gradients[torch.tensor(codes) == code]
        assert (one["members"], one["up"]) == (len(mine), int((mine < 0).sum()))
        assert one["mean"] == pytest.approx(float(mine.mean()), abs=1e-7)
    assert called(page, SCRIPT, "gathered", [[codes, gradients.tolist(), 9]]) == [{"members": 0, "sum": 0, "mean": 0, "up": 0}]


def test_losses_are_those_of_the_moved_value(page, network, widget):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for place, offset in ((0, -0.16), (1, 0.0), (2, 0.08)):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            moved[2].parametrizations.weight.original[place] += offset
        read = called(page, SCRIPT, "lossAt", [[widget.losses[place], 0.16, offset]])[0]
        assert read == pytest.approx(_loss(moved).item(), abs=2e-6)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_between_two_losses_is_a_line_and_beyond_the_last_nothing_moves(page):
    assert called(page, SCRIPT, "lossAt", [[[4, 2, 1], 1, 0.5], [[4, 2, 1], 1, -3], [[4, 2, 1], 1, 3]]) == [1.5, 4, 1]


def test_what_cannot_be_shown_is_refused(network):
    with pytest.raises(ValueError, match="not shared"):
        SumTheGradients(nn.Sequential(nn.Linear(12, 5)), "0", _loss)
    with pytest.raises(ValueError, match="reach is 0"):
        SumTheGradients(network, "2", _loss, reach=0)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        many = share_(nn.Sequential(nn.Linear(12, 5)), 4)
    with pytest.raises(ValueError, match="15 values"):
        SumTheGradients(many, "0", _loss)


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
        words, members = shown.locator(".qt-words"), list(widget.codes).count(3)
        assert "this slope the dashed line touches" in words.inner_text()
        shown.get_by_label("mean").check(force=True)
        assert "too flat" in words.inner_text()
        shown.get_by_role("radio").nth(2).check(force=True)
        assert f"stands in {members} of 40 places" in words.inner_text()
        shown.get_by_role("slider").press("End")
        assert "A step of −2 ×" in words.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme)
