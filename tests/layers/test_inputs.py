"""Quantized layer inputs in whole models, static and dynamic, against torch's fake-quantize written out by hand."""

import pytest
import torch
from torch import nn

from qtoolkit.layers import DynamicInputs, StaticInputs, WeightCodes, WeightOnly, calibrate, quantize_
from qtoolkit.quantizers import (MSE, Codebook, HistogramObserver, KMeans, MovingAverageObserver, PerChannel, PerToken, ProductQuantizer,
                                 ResidualQuantizer, Scheme)

SCHEME = Scheme(8, symmetric=False)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 20), nn.ReLU(), nn.Linear(20, 10)).eval()


def images(n=8, seed=1):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def fake(x, lo, hi):
    """torch's asymmetric 8 bits over lo..hi."""
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    scale = (hi - lo) / 255
    zero_point = max(-128, min(127, -128 - round(lo / scale)))
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)


def by_hand(model, x, ranges=None):
    """The network with every layer input faked, by its own range or by those of calibration."""
    for index, layer in enumerate(model):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            lo, hi = ranges[index] if ranges else (x.min().item(), x.max().item())
            x = fake(x, lo, hi)
        x = layer(x)
    return x


def input_ranges(model, batches):
    seen = {}
    for x in batches:
        for index, layer in enumerate(model):
            lo, hi = seen.get(index, (float("inf"), -float("inf")))
            seen[index] = (min(lo, x.min().item()), max(hi, x.max().item()))
            x = layer(x)
    return seen


def test_dynamic_inputs_are_the_network_with_faked_inputs():
    with torch.no_grad():
        expected = by_hand(network(), images())
        assert torch.allclose(quantize_(network(), DynamicInputs(SCHEME))(images()), expected, atol=1e-5)


def test_static_inputs_use_the_ranges_of_all_batches():
    batches = [images(seed=s) for s in range(4)]
    with torch.no_grad():
        expected = by_hand(network(), 3 * images(seed=9), input_ranges(network(), batches))
        model = network()
        quantize_(model, StaticInputs(SCHEME, calibrate(model, batches)))
        assert torch.allclose(model(3 * images(seed=9)), expected, atol=1e-5)


def test_calibration_leaves_the_model_as_it_was():
    model = network()
    before, output = {k: v.clone() for k, v in model.state_dict().items()}, model(images())
    calibrate(model, [images()])
    assert torch.equal(model(images()), output)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_hooks_are_removed_when_a_batch_fails():
    model = network()
    with pytest.raises(RuntimeError):
        calibrate(model, [torch.ones(1, 3, 8, 8)])
    assert not any(m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("observer", [MovingAverageObserver, lambda: HistogramObserver(MSE(SCHEME), bins=512)])
def test_other_observers_calibrate_too(observer):
    model, x = network(), images()
    expected = model(x)
    quantize_(model, StaticInputs(SCHEME, calibrate(model, [x], observer)))
    assert (model(x) - expected).abs().max() < 0.05 * expected.abs().max()


def test_inputs_first_and_weights_second():
    model, x = network(), images()
    expected = model(x)
    quantize_(quantize_(model, DynamicInputs(SCHEME)), WeightOnly(Scheme(8, granularity=PerChannel())))
    assert type(model[3].layer).__name__ == "WeightOnlyLinear" and type(model[0].layer).__name__ == "WeightOnlyConv2d"
    assert (model(x) - expected).abs().max() < 0.05 * expected.abs().max()


def test_per_token_inputs_do_not_depend_on_the_other_tokens():
    model = quantize_(nn.Sequential(nn.Linear(8, 4)), DynamicInputs(Scheme(8, granularity=PerToken())))
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    loud = x.clone()
    loud[0, 0] *= 100
    assert torch.equal(model(x)[1:], model(loud)[1:])


@pytest.mark.parametrize("fit", [lambda w: Codebook.fit(w, KMeans(16)), lambda w: ProductQuantizer.fit(w.flatten(1), 4, 5 if w.dim() == 4 else 4),
                                 lambda w: ResidualQuantizer.fit(w.flatten(1), 4, 5, 2)], ids=["k-means", "product", "residual"])
def test_weights_in_any_codes(fit):
    linear, x = nn.Linear(40, 8), torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.linear(x, fit(linear.weight.detach()).fake(linear.weight.detach()), linear.bias)
    model = quantize_(nn.Sequential(linear), WeightCodes(fit))
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_convolution_weights_in_vector_codes_keep_their_shape():
    conv, x = nn.Conv2d(2, 8, 3), torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    quantizer = ProductQuantizer.fit(conv.weight.detach(), 4, 9)
    expected = nn.functional.conv2d(x, quantizer.fake(conv.weight.detach()), conv.bias)
    model = quantize_(nn.Sequential(conv), WeightCodes(lambda weight: quantizer))
    assert torch.allclose(model(x), expected, atol=1e-6)


@pytest.mark.parametrize("call,error,words", [
    (lambda: DynamicInputs(8), TypeError, "Scheme"),
    (lambda: StaticInputs(8, {}), TypeError, "Scheme"),
    (lambda: calibrate(network(), []), ValueError, "batches is empty"),
    (lambda: calibrate("model", [images()]), TypeError, "torch.nn.Module"),
    (lambda: calibrate(network(), [images()], filter_fn=lambda module, name: False), ValueError, "chose none"),
    (lambda: calibrate(network(), [torch.full((1, 1, 8, 8), float("nan"))]), ValueError, "NaN"),
    (lambda: quantize_(network(), StaticInputs(SCHEME, {})), ValueError, "not calibrated"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
