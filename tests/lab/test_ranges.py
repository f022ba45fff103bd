"""The rows of `qt reproduce ranges`: what they measure, and that the recorded table is the one the code would make."""

import copy
import math
import statistics

import pytest
import torch

from qtoolkit import lab
from qtoolkit.lab import ranges
from qtoolkit.lab.ranges import Setting, paired, quantize_weights, quantized
from qtoolkit.lab.ranges_page import PAGE, page
from qtoolkit.layers import WeightOnly, quantize_, size_in_bytes
from qtoolkit.quantizers import MSE, PerChannel, Scheme


def test_a_paired_difference_and_its_standard_error():
    right, reference = torch.tensor([1, 1, 0, 0, 1, 1, 0, 1]).bool(), torch.tensor([1, 0, 1, 1, 1, 1, 0, 1]).bool()
    each = [100.0 * (a - b) for a, b in zip(right.int().tolist(), reference.int().tolist())]
    assert paired(right, reference) == {
        "difference": statistics.mean(each), "standard_error": round(statistics.stdev(each) / math.sqrt(len(each)), 3)}


@pytest.mark.parametrize("calibration", ["min/max", "MSE"])
def test_measured_weights_are_those_of_weight_only_layers(calibration):
    scheme, x = Scheme(3, granularity=PerChannel()), torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    stored = quantize_(lab.trained("lenet-5"), WeightOnly(scheme, MSE(scheme)) if calibration == "MSE" else WeightOnly(scheme))
    measured = lab.trained("lenet-5")
    bits = quantize_weights(measured, Setting("weights", "symmetric", 3, "channel", calibration))
    with torch.inference_mode():
        torch.testing.assert_close(measured(x), stored(x))
    biases = 4 * (20 + 50 + 500 + 10)
    assert bits == pytest.approx(8 * (size_in_bytes(stored) - biases) / 430_500, abs=0.01)


def test_the_network_itself_is_left_alone():
    network = lab.trained("lenet-300-100")
    before = copy.deepcopy(network.state_dict())
    model, row = quantized(network, Setting("both", "symmetric", 4, "layer", "MSE", "static", 8), [torch.rand(3, 1, 28, 28)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert row["bits_per_weight"] == pytest.approx(4, abs=0.01) and model is not network


def test_static_inputs_saturate_and_dynamic_ones_do_not():
    network, x = lab.trained("lenet-300-100"), torch.rand(4, 1, 28, 28)
    static, dynamic = (quantized(network, Setting("inputs", "asymmetric", 8, "layer", "min/max", kind), [x])[0] for kind in ("static", "dynamic"))
    with torch.inference_mode():
        assert (static(x) - dynamic(x)).abs().max() < 0.05 * network(x).abs().max()  # later ranges see codes instead of floats
        assert (static(4 * x) - network(4 * x)).abs().max() > 5 * (dynamic(4 * x) - network(4 * x)).abs().max()


@pytest.mark.parametrize("settings", [ranges.text_settings(), ranges.photo_settings()])
def test_no_row_is_measured_twice(settings):
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize("name, settings", [("minilm", ranges.text_settings()), ("efficientnet-lite0", ranges.photo_settings())])
def test_the_recorded_rows_are_those_of_the_code(name, settings):
    rows = lab.results.load("ranges")[name]
    assert rows[0]["grid"] == "float32"
    assert [Setting(**{key: row[key] for key in Setting.__dataclass_fields__}) for row in rows[1:]] == settings


def test_the_page_shows_the_recorded_rows():
    assert PAGE.read_text(encoding="utf-8") == page(lab.results.load("ranges"))


def test_twenty_photographs_are_called_few():
    data = lab.results.load("ranges")
    assert "That is few" in page(data | {"photos": {"set": "foolbox", "count": 20, "calibration": 20}})


def _cosine(**wanted) -> float:
    rows = [row for row in lab.results.load("ranges")["minilm"] if all(row.get(key) == value for key, value in wanted.items())]
    assert len(rows) == 1
    return rows[0]["cosine"]


def test_a_recorded_row_comes_out_again():
    """One row, measured now: MiniLM at 4 bits, one scale a channel."""
    setting = Setting("weights", "symmetric", 4)
    assert ranges.Sentences().row(setting)["cosine"] == pytest.approx(_cosine(target="weights", grid="symmetric", bits=4, granularity="channel", calibration="min/max"), abs=2e-3)
