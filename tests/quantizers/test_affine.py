"""Affine quantization against torch, ONNX, closed forms and its own laws."""

import math

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from qtoolkit.quantizers import Affine, Scheme, absorb_zero_point, choose_qparams, dequantize, fake_quantize, quantize

FLOAT32 = dict(allow_nan=False, allow_infinity=False, width=32)
SCHEMES = [Scheme(bits, symmetric, signed, narrow)
           for bits in (1, 2, 3, 4, 7, 8, 12, 16)
           for symmetric, signed, narrow in [(True, True, False), (True, True, True), (False, True, False), (False, False, False)]
           if not (narrow and bits == 1)]
schemes = st.sampled_from(SCHEMES)
tensors = st.lists(st.floats(-1e6, 1e6, **FLOAT32), min_size=1, max_size=40).map(torch.tensor)


def gaussian(n=100_000, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def mse(x, scheme):
    return (Affine.fit(x, scheme).fake(x) - x).square().mean().item()


def differs_only_at_ties(ours, theirs, x, scale):
    """torch multiplies by float32(1/S); then only an x/S within a few float32 steps of k + 1/2 may round the other way."""
    wrong = ours != theirs
    ratio = x.double()[wrong] / torch.as_tensor(scale).double().expand_as(x)[wrong]
    to_tie = (ratio - ratio.floor() - 0.5).abs()
    return wrong.sum() <= 3 and (to_tie <= 4 * ratio.abs() * torch.finfo(torch.float32).eps).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("scale", [2.0**-5, 2.0**-9, 2.0**3])
def test_equals_torch_fake_quantize_bit_for_bit(bits, scale):
    x, scheme = 8 * gaussian() * scale, Scheme(bits, symmetric=False, signed=False)
    z = scheme.qmax // 3
    theirs = torch.fake_quantize_per_tensor_affine(x, scale, z, scheme.qmin, scheme.qmax)
    assert torch.equal(fake_quantize(x, scale, z, scheme.qmin, scheme.qmax), theirs)


@given(scheme=schemes, seed=st.integers(0, 1000))
def test_differs_from_torch_fake_quantize_only_within_rounding_error_of_a_tie(scheme, seed):
    x = gaussian(2000, seed)
    q = Affine.fit(x, scheme)
    theirs = torch.fake_quantize_per_tensor_affine(x, q.scale.item(), q.zero_point.item(), scheme.qmin, scheme.qmax)
    assert differs_only_at_ties(q.fake(x), theirs, x, q.scale.item())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_equals_torch_fake_quantize_per_channel(axis):
    from qtoolkit.quantizers import PerChannel

    x = gaussian(6 * 8 * 10).reshape(6, 8, 10)
    channels = x.shape[axis]
    scale, z = 2.0 ** -torch.arange(channels), torch.arange(channels, dtype=torch.int32) - 3
    ours = Affine(Scheme(4, symmetric=False, granularity=PerChannel(axis)), scale, z).fake(x)
    assert torch.equal(ours, torch.fake_quantize_per_channel_affine(x, scale, z, axis, -8, 7))


def onnx_evaluate(op, inputs, out_type, out_shape):
    """Run one ONNX operator in ONNX's own reference evaluator and, if installed, in ONNX Runtime; they must agree."""
    kinds = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("uint8"): TensorProto.UINT8, np.dtype("int8"): TensorProto.INT8}
    names = [f"i{i}" for i in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"])], "g",
        [helper.make_tensor_value_info(n, kinds[a.dtype], a.shape) for n, a in zip(names, inputs)],
        [helper.make_tensor_value_info("y", out_type, out_shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    feeds = dict(zip(names, inputs))
    reference = ReferenceEvaluator(model).run(None, feeds)[0]
    ort = pytest.importorskip("onnxruntime")
    runtime = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    assert np.array_equal(reference, runtime)
    return torch.from_numpy(np.array(runtime))


@pytest.mark.parametrize("signed", [True, False])
def test_equals_onnx_quantize_and_dequantize_linear_bit_for_bit(signed):
    scheme = Scheme(8, symmetric=False, signed=signed)
    q = Affine.from_range(-2.0, 2.7, scheme)
    ties = (torch.arange(-200, 200) + 0.5) * q.scale.item()  # where dividing by S and multiplying by 1/S part
    x = torch.cat([gaussian(50_000), ties])
    z = q.zero_point.reshape(()).to(scheme.code_dtype).numpy()
    s = q.scale.reshape(()).numpy()
    out = TensorProto.INT8 if signed else TensorProto.UINT8
    codes = q.encode(x).codes
    assert torch.equal(codes, onnx_evaluate("QuantizeLinear", [x.numpy(), s, z], out, x.shape))
    assert torch.equal(q.fake(x), onnx_evaluate("DequantizeLinear", [codes.numpy(), s, z], TensorProto.FLOAT, x.shape))


def test_ties_round_to_even():
    assert quantize(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5]), 1.0, 0, -8, 7).tolist() == [0, 2, 2, 0, -2]


@given(x=tensors, scheme=schemes)
def test_error_is_at_most_half_a_step_inside_the_range(x, scheme):
    q = Affine.fit(x, scheme)
    x, scale = x.double(), q.scale.double()
    low, high = scale * (scheme.qmin - q.zero_point), scale * (scheme.qmax - q.zero_point)
    inside = (x >= low.squeeze()) & (x <= high.squeeze())
    error = (q.fake(x.float()).double() - x).abs()
    slack = 1e-6 * x.abs().max() + 1e-40  # the codes are computed in float32
    assert (error[inside] <= scale.item() / 2 + slack).all()


@given(x=tensors, scheme=schemes)
def test_min_max_loses_at_most_one_step_anywhere(x, scheme):
    q = Affine.fit(x, scheme)
    assert ((q.fake(x) - x).abs() <= q.scale.item() * (1 + 1e-5) + 1e-6 * x.abs().max()).all()


@given(x=tensors, scheme=schemes)
def test_zero_is_exact_and_quantizing_twice_changes_nothing(x, scheme):
    q = Affine.fit(x, scheme)
    assert q.fake(torch.zeros(3)).tolist() == [0, 0, 0]
    codes = q.encode(x).codes
    assert torch.equal(q.encode(q.decode(q.encode(x))).codes, codes)


@given(x=tensors, bits=st.integers(2, 16))
def test_narrow_range_is_odd(x, bits):
    q = Affine.fit(x, Scheme(bits, narrow_range=True))
    assert torch.equal(q.encode(-x).codes, -q.encode(x).codes)


def test_full_range_is_not_odd():
    x = torch.tensor([-1.0, 1.0])
    q = Affine(Scheme(4), 0.125)  # +-8 steps, but the codes end at 7
    assert not torch.equal(q.encode(-x).codes, -q.encode(x).codes)


@pytest.mark.parametrize("bits,decibel", [(2, 12.04), (4, 24.07), (6, 36.12), (8, 48.16)])
def test_signal_to_noise_of_a_uniform_signal_is_six_decibel_a_bit(bits, decibel):
    scheme, scale = Scheme(bits), 2.0 ** (1 - bits)
    u = torch.rand(1_000_000, generator=torch.Generator().manual_seed(0))
    x = scale * (scheme.qmin - 0.5 + 2**bits * u)  # every level answers for one whole step
    noise = (Affine(scheme, scale).fake(x) - x).square().mean()
    assert noise.item() == pytest.approx(scale**2 / 12, rel=0.01)
    measured = 10 * math.log10(x.var().item() / noise.item())
    assert measured == pytest.approx(decibel, abs=0.03)
    assert measured == pytest.approx(20 * math.log10(2) * bits, abs=0.05)


@pytest.mark.parametrize("bits", range(2, 17))
def test_ratio_of_full_and_restricted_scale(bits):
    full = choose_qparams(-1.0, 3.0, Scheme(bits))[0]
    restricted = choose_qparams(-1.0, 3.0, Scheme(bits, narrow_range=True))[0]
    assert full.item() == pytest.approx(2 * 3 / (2**bits - 1))
    assert restricted.item() == pytest.approx(3 / (2 ** (bits - 1) - 1))
    assert (full / restricted).item() == pytest.approx((2**bits - 2) / (2**bits - 1))


@pytest.mark.parametrize("bits,full,restricted", [(2, 0.678, 0.937), (3, 0.148, 0.201), (4, 0.0321, 0.0369), (8, 1.11e-4, 1.12e-4)])
def test_gaussian_error_of_full_and_restricted_range(bits, full, restricted):
    """The published pairs belong to one sample; other samples have other maxima, so only their order of size must agree."""
    x = gaussian(100_000)
    assert mse(x, Scheme(bits)) == pytest.approx(full, rel=0.25)
    assert mse(x, Scheme(bits, narrow_range=True)) == pytest.approx(restricted, rel=0.25)
    assert mse(x, Scheme(bits)) < mse(x, Scheme(bits, narrow_range=True))


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_asymmetric_codes_quarter_the_error_after_relu(bits):
    x = gaussian().relu()
    symmetric, asymmetric = Scheme(bits), Scheme(bits, symmetric=False)
    ratio = choose_qparams(0.0, 4.0, asymmetric)[0] / choose_qparams(0.0, 4.0, symmetric)[0]
    assert ratio.item() == pytest.approx(0.5)
    assert mse(x, asymmetric) / mse(x, symmetric) == pytest.approx(0.25, rel=0.1)


@given(lo=st.floats(-(2.0**100), 2.0**100, **FLOAT32), width=st.floats(0, 2.0**100, **FLOAT32), scheme=schemes)
def test_zero_point_is_a_code_even_for_one_signed_ranges(lo, width, scheme):
    scale, z = choose_qparams(torch.tensor(lo), torch.tensor(lo + width), scheme)
    assert scale > 0 and scale.isfinite()
    assert scheme.qmin <= z <= scheme.qmax


@pytest.mark.parametrize("signed", [True, False])
def test_zero_point_is_a_code_even_at_the_end_of_float32(signed):
    scheme = Scheme(8, symmetric=False, signed=signed)
    for lo, hi in [(-3.4e38, 0.0), (0.0, 3.4e38), (-3.4e38, 3.4e38)]:
        scale, z = choose_qparams(lo, hi, scheme)
        assert scale.isfinite() and scheme.qmin <= z <= scheme.qmax


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("magnitude", [1e-45, 1e-40, 1e-38, 1e-30, 1e38])
def test_extreme_magnitudes_give_finite_results(scheme, magnitude):
    x = torch.tensor([-magnitude, 0.0, magnitude / 3, magnitude])
    q = Affine.fit(x, scheme)
    y = q.fake(x)
    assert q.scale > 0 and q.scale.isfinite() and y.isfinite().all() and y[1] == 0
    if scheme.bits >= 8:
        assert ((y - x).abs() <= 1.01 * q.scale.item()).all()


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_an_all_zero_channel_is_exact(scheme):
    from dataclasses import replace
    from qtoolkit.quantizers import PerChannel

    x = torch.stack([torch.zeros(5), torch.linspace(-1, 1, 5)])
    q = Affine.fit(x, replace(scheme, granularity=PerChannel()))
    assert q.fake(x)[0].tolist() == [0] * 5
    assert q.scale[0] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_real_dtype_comes_back_as_itself(dtype):
    x = torch.linspace(-1, 1, 33).to(dtype)
    q = Affine.fit(x, Scheme(8))
    assert q.fake(x).dtype == dtype
    assert torch.equal(q.encode(x).codes, q.encode(x.to(q.scale.dtype)).codes)


@pytest.mark.parametrize("view", [lambda x: x.T, lambda x: x[::2, 1::3], lambda x: x.flip(0), lambda x: x[:1].expand(5, -1)])
def test_views_give_what_their_copies_give(view):
    from qtoolkit.quantizers import PerChannel

    x = view(gaussian(72).reshape(8, 9))
    q = Affine.fit(x, Scheme(4, granularity=PerChannel()))
    assert torch.equal(q.fake(x), q.fake(x.contiguous().clone()))
    assert torch.equal(quantize(x, 0.1, 0, -8, 7), quantize(x.contiguous(), 0.1, 0, -8, 7))


@given(seed=st.integers(0, 10_000), z=st.integers(-128, 127), with_bias=st.booleans())
def test_absorbed_zero_point_leaves_every_integer_sum_unchanged(seed, z, with_bias):
    g = torch.Generator().manual_seed(seed)
    w = torch.randint(-128, 128, (5, 7), generator=g)
    x = torch.randint(-128, 128, (3, 7), generator=g)
    b = torch.randint(-1000, 1000, (5,), generator=g) if with_bias else None
    direct = (x - z) @ w.T + (0 if b is None else b)
    assert torch.equal(x @ w.T + absorb_zero_point(w, z, b), direct)


def test_absorbed_zero_point_needs_padding_with_the_zero_point():
    g = torch.Generator().manual_seed(0)
    w = torch.randint(-8, 8, (4, 3, 3, 3), generator=g)
    x, z = torch.randint(0, 256, (2, 3, 6, 6), generator=g), 77
    conv = torch.nn.functional.conv2d
    direct = conv((x - z).double(), w.double(), padding=1)
    absorbed = absorb_zero_point(w, z)[:, None, None]
    padded_with_z = torch.nn.functional.pad(x, (1, 1, 1, 1), value=z).double()
    assert torch.equal(conv(padded_with_z, w.double()) + absorbed, direct)
    assert not torch.equal(conv(x.double(), w.double(), padding=1) + absorbed, direct)


def test_dequantize_is_exact_for_every_16_bit_code():
    codes = torch.arange(65536)
    assert torch.equal(dequantize(codes, 0.25, 32768), (codes - 32768) * 0.25)
