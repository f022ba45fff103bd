"""A described network is rebuilt as it was; what cannot be described is said so, and hostile descriptions are refused."""

import doctest

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from qtoolkit.compression import architecture
from qtoolkit.compression.architecture import build, describe
from qtoolkit.compression.container import BadFile

NETWORKS = {
    "lenet-300-100": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)),
    "convolutions": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8, eps=1e-3), nn.ReLU6(),
                                          nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=4, dilation=2), nn.MaxPool2d(2),
                                          nn.AvgPool2d(3, stride=1, padding=1), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Dropout(0.3)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4, bias=False), nn.GELU()), nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Tanh()),
                                    nn.Identity(), nn.Sigmoid()),
    "empty": nn.Sequential,
    "one layer": lambda: nn.Linear(3, 2),
}


def _shapes(model: nn.Module) -> dict:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_docstrings_run():
    assert doctest.testmod(architecture).failed == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_rebuilt_as_they_were(name):
    model = NETWORKS[name]()
    rebuilt = build(describe(model), _shapes(model))
    rebuilt.load_state_dict(model.state_dict(), assign=True)
    assert [type(m) for m in rebuilt.modules()] == [type(m) for m in model.modules()]
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in rebuilt.state_dict().items())
    if name == "convolutions":
        images = torch.randn(2, 3, 16, 16)
        assert torch.equal(rebuilt.eval()(images), model.eval()(images))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return x + self.inner(x)


@pytest.mark.parametrize("model", [Residual(), nn.Sequential(Residual()), nn.Sequential(nn.Flatten(0)), nn.Sequential(nn.LSTM(2, 2)),
                                   nn.Sequential(nn.Conv2d(1, 1, 3, padding="same")), nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)),
                                   nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")), nn.Sequential(nn.GELU("tanh")),
                                   nn.Sequential(nn.BatchNorm1d(3, momentum=None))])
def test_what_the_description_cannot_say_has_none(model):
    assert describe(model) is None


@given(st.data())
def test_damaged_descriptions_are_refused_or_harmless(data):
    model = NETWORKS[data.draw(st.sampled_from(sorted(NETWORKS)))]()
    description = bytearray(describe(model))
    for _ in range(data.draw(st.integers(1, 3))):
        description[data.draw(st.integers(0, len(description) - 1))] = data.draw(st.integers(0, 255))
    try:
        rebuilt = build(bytes(description), _shapes(model))
    except BadFile:
        return
    assert all(tensor.is_meta for tensor in rebuilt.state_dict().values())


def test_deep_nesting_is_refused():
    with pytest.raises(BadFile, match="deep"):
        build(b"\x01\x01" * 5000 + b"\x01\x00", {})
