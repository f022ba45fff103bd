"""Int8 layers and networks against float, against ONNX Runtime's integer operators, and after a save and load."""

import numpy as np
import pytest
import torch
from torch import nn

from qtoolkit.layers.int8 import (ACTIVATION_SCHEME, WEIGHT_SCHEME, Int8DynamicConv2d, Int8DynamicLinear, Int8Linear,
                                  StaticInt8, static_int8)
from qtoolkit.quantizers import Affine


def lenet(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)).eval()


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got - expected).norm() / expected.norm()).item()


def test_dynamic_linear_follows_float_within_8_bit_noise():
    torch.manual_seed(0)
    linear, x = nn.Linear(100, 30), torch.randn(4, 7, 100)
    x[0, 0] *= 1000  # one loud token must not disturb the others: each row has its own scale
    got, expected = Int8DynamicLinear.from_float(linear)(x), linear(x)
    assert got.shape == expected.shape
    assert max(relative_error(g, e) for g, e in zip(got.flatten(0, 1), expected.flatten(0, 1))) < 0.02


@pytest.mark.parametrize("options", [{}, dict(stride=2, padding=1), dict(groups=2, padding="same"), dict(dilation=2, bias=False),
                                     dict(padding=(2, 1), padding_mode="reflect"), dict(groups=4)])
def test_dynamic_convolution_follows_float(options):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 8, (3, 5), **options), torch.randn(2, 4, 11, 13)
    got = Int8DynamicConv2d.from_float(conv)(x)
    assert got.shape == conv(x).shape and relative_error(got, conv(x)) < 0.02


def test_static_linear_equals_onnx_runtime():
    """QLinearMatMul of ONNX Runtime on the same codes: at most one unit apart (it rounds half to even, in float)."""
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=False)
    source, target = Affine.from_range(-1.0, 2.0, ACTIVATION_SCHEME), Affine.from_range(-3.0, 3.0, ACTIVATION_SCHEME)
    weight = Affine.fit(linear.weight.detach(), WEIGHT_SCHEME)
    x = source.encode(torch.rand(50, 64) * 3 - 1).codes
    node = onnx.helper.make_node("QLinearMatMul", ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"], ["y"])
    constants = dict(sx=source.scale.item(), zx=source.zero_point.int().item(), sy=target.scale.item(), zy=target.zero_point.item())
    initializers = [onnx.numpy_helper.from_array(np.array(v, np.float32 if k[0] == "s" else np.int8), k) for k, v in constants.items()]
    initializers += [onnx.numpy_helper.from_array(a, k) for k, a in dict(
        w=weight.encode(linear.weight.detach()).codes.T.contiguous().numpy(), sw=weight.scale.flatten().numpy(),
        zw=np.zeros(32, np.int8)).items()]
    graph = onnx.helper.make_graph([node], "g", [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.INT8, [50, 64])],
                                   [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT8, [50, 32])], initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    theirs = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})[0]
    ours = Int8Linear.from_float(linear, source, target)(x).numpy()
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1 and (difference != 0).mean() < 0.01


def test_static_network_follows_float_and_is_quarter_the_size():
    model, x = lenet(), torch.rand(200, 1, 28, 28)
    network = static_int8(model, x)
    assert relative_error(network(x), model(x)) < 0.05
    assert network.plan.numel() < sum(p.numel() * 4 for p in model.parameters()) / 3.7
    assert torch.equal(network(x)[5:6], network(x[5:6]))  # a row's result does not depend on its batch


def test_static_network_computes_what_its_layers_say():
    """The one-call plan against Int8Linear layers built from the same ranges."""
    model, x = lenet(1), torch.rand(64, 1, 28, 28)
    hidden = [x.flatten(1)]
    for linear in (model[1], model[3]):
        hidden.append(linear(hidden[-1]).relu().detach())
    codes = [Affine.fit(h, ACTIVATION_SCHEME) for h in hidden]
    q = codes[0].encode(hidden[0]).codes
    for i, linear in enumerate((model[1], model[3])):
        q = Int8Linear.from_float(linear, codes[i], codes[i + 1], relu=True)(q)
    logits = codes[2].scale.item() * (q.float() - codes[2].zero_point.item()) @ model[5].weight.T + model[5].bias
    assert relative_error(static_int8(model, x)(x), logits) < 0.01


def test_state_dict_round_trip():
    model, x = lenet(), torch.rand(8, 1, 28, 28)
    one, other = static_int8(model, x), static_int8(lenet(5), x)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


def test_dead_channels_huge_biases_and_constant_inputs_stay_finite():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].weight[1] = 1e-30
        model[0].bias.copy_(torch.tensor([1.0, 2.0, 1000.0]))
    x = torch.zeros(5, 4)
    y = static_int8(model, x)(x)
    assert y.isfinite().all() and relative_error(y, model(x)) < 0.02


def test_what_cannot_be_converted_is_named():
    x = torch.rand(4, 784)
    for wrong, what in ((nn.Sequential(nn.Linear(784, 10), nn.Sigmoid()), "Sigmoid"), (nn.Sequential(nn.Linear(784, 10), nn.ReLU()), "end"),
                        (nn.Sequential(nn.Flatten()), "Linear"), (nn.Sequential(nn.Linear(784, 8), nn.Flatten(), nn.Linear(8, 2)), "Flatten")):
        with pytest.raises(ValueError, match=what):
            static_int8(wrong, x)
    with pytest.raises(TypeError, match="Sequential"):
        static_int8(nn.Linear(2, 2), x)
    with pytest.raises(TypeError, match="torch.nn.Linear"):
        Int8DynamicLinear.from_float(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match="NaN"):
        static_int8(lenet(), torch.full((2, 784), float("nan")))
    with pytest.raises(ValueError, match="batch, 3"):
        Int8DynamicConv2d.from_float(nn.Conv2d(3, 8, 3))(torch.zeros(1, 4, 9, 9))
    with pytest.raises(ValueError, match="fit|expected"):
        Int8DynamicLinear.from_float(nn.Linear(4, 2))(torch.zeros(1, 5))


def images_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, groups=8, bias=False), nn.ReLU(),
                         nn.Dropout(), nn.Conv2d(8, 12, 1), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 5)).eval()


def test_a_network_of_images_keeps_its_answers():
    model = images_net()
    x = torch.rand(64, 3, 14, 15) - 0.3
    network = static_int8(model, x)
    assert relative_error(network(x), model(x)) < 0.03
    assert (network(x).argmax(1) == model(x).argmax(1)).float().mean() > 0.9


def test_a_relu_after_a_pooling_is_a_relu_before_it():
    after = images_net()
    before = nn.Sequential(after[0], nn.ReLU(), after[1], *after[3:])
    x = torch.rand(16, 3, 14, 15) - 0.3
    assert torch.equal(static_int8(after, x).plan, static_int8(before, x).plan)


def test_lenet_5_on_digits_is_as_good_in_int8():
    from qtoolkit import lab
    from qtoolkit.lab.train import error_percent

    model, test = lab.trained("lenet-5"), lab.mnist("test")
    network = static_int8(model, lab.mnist("train")[:500].inputs())
    assert abs(error_percent(network, test) - error_percent(model, test)) <= 0.1


def test_networks_of_images_that_cannot_be_converted_are_named():
    x, conv, end = torch.rand(4, 1, 8, 8), nn.Conv2d(1, 2, 3), nn.Linear(72, 3)
    for wrong, what in (([conv, end], "module 1 .*Flatten"), ([conv, nn.BatchNorm2d(2), nn.Flatten(), end], "fold_batch_norms"), ([conv, nn.Flatten()], "end"),
                        ([nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(), end], "zeros"), ([nn.Conv2d(1, 2, 3, padding="same")], "zeros"),
                        ([conv, nn.MaxPool2d(2, padding=1), nn.Flatten(), end], "pooling"), ([conv, nn.MaxPool2d(2, ceil_mode=True)], "ceil_mode"),
                        ([nn.Flatten(), conv], "module 1"), ([nn.Linear(8, 8), conv], "module 1")):
        with pytest.raises(ValueError, match=what):
            static_int8(nn.Sequential(*wrong), x)
    with pytest.raises(ValueError, match="batch, channels, height, width"):
        static_int8(nn.Sequential(conv, nn.Flatten(), end), x.flatten(1))


def test_it_is_an_inference_module_without_float_weights():
    network = static_int8(lenet(), torch.rand(4, 784))
    assert isinstance(network, StaticInt8) and not list(network.parameters())
    assert {name for name, _ in network.named_buffers()} == {"plan"}
