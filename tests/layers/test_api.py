"""`quantize_` and `size_in_bytes` on whole models."""

import pytest
import torch
from torch import nn

from qtoolkit.layers import DynamicInt8, WeightOnly, WeightOnlyConv2d, WeightOnlyLinear, quantize_, size_in_bytes
from qtoolkit.quantizers import Affine, PerChannel, PerGroup, Scheme


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Sequential(nn.Linear(4 * 24 * 24, 20), nn.ReLU()), nn.Linear(20, 10))


def kinds(model):
    return {name: type(m).__name__ for name, m in model.named_modules() if not list(m.children()) and name}


def test_every_linear_and_conv_is_replaced_in_place():
    model = network()
    assert quantize_(model, WeightOnly(Scheme(4))) is model
    assert kinds(model) == {"0": "WeightOnlyConv2d", "1": "ReLU", "2": "Flatten", "3.0": "WeightOnlyLinear", "3.1": "ReLU", "4": "WeightOnlyLinear"}


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_the_model_computes_with_fake_quantized_weights(bits):
    scheme, model, expected, x = Scheme(bits, granularity=PerChannel()), network(), network(), torch.randn(2, 1, 28, 28)
    for module in expected.modules():
        if hasattr(module, "weight"):
            module.weight.data = Affine.fit(module.weight.data, scheme).fake(module.weight.data)
    assert torch.allclose(quantize_(model, WeightOnly(scheme))(x), expected(x), atol=1e-5)


def test_filter_fn_sees_module_and_name_and_chooses():
    model, seen = network(), []
    quantize_(model, WeightOnly(), lambda module, name: seen.append((name, type(module))) or name == "3.0")
    assert seen == [("0", nn.Conv2d), ("3.0", nn.Linear), ("4", nn.Linear)]
    assert kinds(model)["3.0"] == "WeightOnlyLinear" and kinds(model)["4"] == "Linear"


def test_a_shared_layer_stays_shared():
    layer = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": layer, "b": nn.Sequential(layer, nn.Linear(4, 4))})
    quantize_(model, WeightOnly())
    assert model["a"] is model["b"][0] and isinstance(model["a"], WeightOnlyLinear)
    assert model["b"][1] is not model["a"]


def test_training_mode_is_kept():
    assert not quantize_(network().eval(), WeightOnly())[4].training


def test_layers_that_others_rely_on_are_left_alone():
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)).eval()
    x = torch.randn(2, 3, 8)
    before = model(x)
    quantize_(model, WeightOnly(Scheme(16, granularity=PerChannel())))
    assert type(model[0].self_attn.out_proj) is nn.modules.linear.NonDynamicallyQuantizableLinear
    assert torch.allclose(model(x), before, atol=1e-3)


def test_a_layer_that_cannot_be_quantized_leaves_the_model_untouched():
    model = network()
    with pytest.raises(ValueError, match="divisor"):
        quantize_(model, WeightOnly(Scheme(4, granularity=PerGroup(10))))
    assert "WeightOnlyLinear" not in kinds(model).values()


def test_sizes():
    model = nn.Sequential(nn.Linear(300, 100))
    assert size_in_bytes(model) == 4 * (300 * 100 + 100)
    quantize_(model, WeightOnly(Scheme(3, granularity=PerChannel())))
    assert size_in_bytes(model) == (300 * 100 * 3 + 7) // 8 + 4 * 100 + 4 * 100
    assert size_in_bytes(nn.Conv2d(3, 8, 3, bias=False)) == 4 * 8 * 27


def test_a_shared_tensor_is_counted_once_and_buffers_count():
    layer = nn.Linear(4, 4)
    assert size_in_bytes(nn.Sequential(layer, layer)) == size_in_bytes(layer) == 80
    assert size_in_bytes(nn.BatchNorm1d(10)) == 4 * 10 * 4 + 8


def test_dynamic_int8_is_close_to_float():
    model, x = network(), torch.randn(8, 1, 28, 28)
    before = model(x)
    quantize_(model, DynamicInt8())
    assert set(kinds(model).values()) == {"Int8DynamicConv2d", "ReLU", "Flatten", "Int8DynamicLinear"}
    assert (model(x) - before).abs().max() < 0.03 * before.abs().max()


def test_dynamic_int8_stores_a_byte_a_weight():
    model = nn.Sequential(nn.Linear(784, 256), nn.Conv2d(64, 64, 3))
    size = size_in_bytes(model)
    assert size_in_bytes(quantize_(model, DynamicInt8())) == pytest.approx(size / 4, rel=0.05)


@pytest.mark.parametrize("call,error,words", [
    (lambda: quantize_("model", WeightOnly()), TypeError, "torch.nn.Module"),
    (lambda: quantize_(network(), WeightOnly), TypeError, "instance"),
    (lambda: quantize_(network(), Scheme(4)), TypeError, "WeightOnly"),
    (lambda: quantize_(nn.Sequential(nn.ReLU()), WeightOnly()), ValueError, "nothing to quantize"),
    (lambda: quantize_(network(), WeightOnly(), lambda module, name: False), ValueError, "filter_fn chose none"),
    (lambda: quantize_(nn.Linear(2, 2), WeightOnly()), ValueError, "wrap it"),
    (lambda: WeightOnly(4), TypeError, "Scheme"),
    (lambda: size_in_bytes(torch.ones(3)), TypeError, "torch.nn.Module"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
