"""Weight-only layers compute what the float layer computes with the fake-quantized weight, and store only codes."""

import copy
import io

import pytest
import torch
from torch import nn

from qtoolkit.layers import WeightOnlyConv2d, WeightOnlyLinear
from qtoolkit.quantizers import Affine, ChannelGroups, PerChannel, PerGroup, PerTensor, Scheme

# Restricted symmetric codes: with the full range every block maximum is a tie, which torch's reciprocal may break the other way.
SCHEMES = [Scheme(bits, symmetric, narrow_range=symmetric, granularity=g) for bits in (2, 3, 5, 8, 16) for symmetric in (True, False)
           for g in (PerTensor(), PerChannel(), ChannelGroups(2), PerGroup(3))]
CONVS = [dict(), dict(stride=2, padding=1), dict(padding="same", dilation=2), dict(groups=2), dict(padding=1, padding_mode="reflect"),
         dict(padding=(1, 2), padding_mode="circular"), dict(bias=False)]


def oracle(layer, scheme):
    """The float layer with torch's own fake-quantize of each block of its weight."""
    layer = copy.deepcopy(layer)
    w = layer.weight.data
    q = Affine.fit(w, scheme)
    rows = [torch.fake_quantize_per_tensor_affine(row, s.item(), z.item(), scheme.qmin, scheme.qmax)
            for row, s, z in zip(scheme.granularity.blocks(w), q.scale, q.zero_point)]
    layer.weight.data = scheme.granularity.unblock(torch.stack(rows), w.shape)
    return layer


def codes(layer, scheme):
    return Affine.fit(layer.weight.detach(), scheme).encode(layer.weight.detach())


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_linear_computes_with_the_fake_quantized_weight(scheme):
    torch.manual_seed(0)
    linear, x = nn.Linear(6, 4), torch.randn(2, 5, 6)
    assert torch.allclose(WeightOnlyLinear.from_float(linear, codes(linear, scheme))(x), oracle(linear, scheme)(x), atol=1e-6)


@pytest.mark.parametrize("options", CONVS, ids=str)
@pytest.mark.parametrize("scheme", [Scheme(4, narrow_range=True, granularity=PerChannel()), Scheme(3, symmetric=False),
                                    Scheme(4, symmetric=False, granularity=PerGroup(3))], ids=str)
def test_conv_computes_with_the_fake_quantized_weight(options, scheme):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 6, 3, **options), torch.randn(2, 4, 9, 9)
    ours = WeightOnlyConv2d.from_float(conv, codes(conv, scheme))
    assert torch.allclose(ours(x), oracle(conv, scheme)(x), atol=1e-6)
    assert torch.allclose(ours(x.to(memory_format=torch.channels_last)), ours(x), atol=1e-6)


def test_one_by_one_and_depthwise_convolutions():
    torch.manual_seed(0)
    for conv in (nn.Conv2d(4, 6, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, (1, 3), stride=(2, 1), groups=4)):
        scheme, x = Scheme(4, narrow_range=True, granularity=PerChannel()), torch.randn(1, 4, 7, 7)
        assert torch.allclose(WeightOnlyConv2d.from_float(conv, codes(conv, scheme))(x), oracle(conv, scheme)(x), atol=1e-6)


def test_the_state_holds_packed_codes_and_no_float_weight():
    linear = nn.Linear(64, 32)
    layer = WeightOnlyLinear.from_float(linear, codes(linear, Scheme(4, granularity=PerChannel())))
    state = {name: (tuple(t.shape), t.dtype) for name, t in layer.state_dict().items()}
    assert state == {"codes": ((1024,), torch.uint8), "scale": ((32,), torch.float32), "bias": ((32,), torch.float32)}


def test_a_saved_state_loads_into_a_layer_of_the_same_kind():
    torch.manual_seed(0)
    scheme = Scheme(3, symmetric=False, granularity=PerGroup(4))
    one, two = nn.Linear(8, 4), nn.Linear(8, 4)
    source, target = (WeightOnlyLinear.from_float(layer, codes(layer, scheme)) for layer in (one, two))
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    target.load_state_dict(torch.load(file))
    x = torch.randn(3, 8)
    assert torch.equal(target(x), source(x))
    assert torch.equal(copy.deepcopy(target)(x), source(x))


def test_the_float_layer_is_not_changed_and_not_shared():
    linear = nn.Linear(8, 4)
    layer = WeightOnlyLinear.from_float(linear, codes(linear, Scheme(4)))
    before = layer(torch.ones(8)).clone()
    with torch.no_grad():
        linear.weight.zero_(), linear.bias.zero_()
    assert torch.equal(layer(torch.ones(8)), before)


def test_gradients_reach_the_input_and_the_bias():
    linear, x = nn.Linear(8, 4), torch.randn(3, 8, requires_grad=True)
    layer = WeightOnlyLinear.from_float(linear, codes(linear, Scheme(4)))
    layer(x).sum().backward()
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(3, 8)) and layer.bias.grad.tolist() == [3.0] * 4


def test_bfloat16_inputs():
    linear = nn.Linear(8, 4, bias=False)
    layer = WeightOnlyLinear.from_float(linear, codes(linear, Scheme(8)))
    assert layer(torch.ones(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("call,error,words", [
    (lambda: WeightOnlyLinear(torch.ones(2, 2)), TypeError, "QTensor"),
    (lambda: WeightOnlyLinear(codes(nn.Linear(8, 4), Scheme(4)))(torch.ones(2, 7)), ValueError, r"\(\.\.\., 8\)"),
    (lambda: WeightOnlyLinear(codes(nn.Linear(8, 4), Scheme(4)))(torch.ones(2, 8).int()), TypeError, "int32"),
    (lambda: WeightOnlyLinear(codes(nn.Conv2d(2, 4, 3), Scheme(4))), ValueError, r"\(out, in\)"),
    (lambda: WeightOnlyConv2d(codes(nn.Conv2d(2, 4, 3), Scheme(4)))(torch.ones(1, 3, 5, 5)), ValueError, r"\(batch, 2, height, width\)"),
    (lambda: WeightOnlyConv2d(codes(nn.Conv2d(2, 4, 3), Scheme(4)))(torch.ones(1, 2, 5, 5).int()), TypeError, "int32"),
    (lambda: WeightOnlyConv2d(codes(nn.Linear(8, 4), Scheme(4))), ValueError, "height, width"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
