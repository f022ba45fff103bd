"""The int8 operators against independent arithmetic: exact integers, on every instruction set this machine can force."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit import kernels
from qtoolkit.kernels import ops, portable, reference
from qtoolkit.kernels.layer import pack_layer, pack_weight, unpack_layer
from qtoolkit.kernels.plan import pack_plan, unpack_plan

ISAS = kernels.info()["isas_available"]
native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")


def random_layer(n, k, seed, *, extreme=False, **overrides):
    """(codes of the weight, bias, the keyword parts) of a layer; extreme: only -127 and 127."""
    rng = np.random.default_rng(seed)
    weight = rng.choice([-127, 127], (n, k)) if extreme else rng.integers(-127, 128, (n, k))
    bias = rng.integers(-(2**20), 2**20, n)
    multiplier, shift = reference.quantize_multiplier(torch.from_numpy(rng.uniform(1e-5, 1e-2, n)))
    parts = dict(input_zero_point=int(rng.integers(-128, 128)), multiplier=multiplier, shift=shift,
                 zero_point=int(rng.integers(-128, 128)), scale=torch.from_numpy(rng.uniform(1e-5, 1e-2, n)).float(),
                 real_bias=torch.from_numpy(rng.normal(size=n)).float())
    return weight, bias, parts | overrides


def numpy_sums(x, weight, bias, zero):
    """The integers of the layer, by numpy's int64 matmul: shares no code with ours."""
    return (x.astype(np.int64) - zero) @ weight.T.astype(np.int64) + bias


def numpy_requantize(sums, parts):
    """floor(a m / 2^s + 1/2) in exact rational numbers."""
    columns = zip(parts["multiplier"].tolist(), parts["shift"].tolist())
    factors = [Fraction(m, 2**s) for m, s in columns]
    rounded = [[floor(int(a) * f + Fraction(1, 2)) for a, f in zip(row, factors)] for row in sums.reshape(-1, len(factors))]
    q = np.array(rounded).reshape(sums.shape) + parts["zero_point"]
    return np.clip(q, parts.get("lowest", -128), parts.get("highest", 127))


def pack(weight, bias, parts):
    return pack_layer(torch.from_numpy(weight).to(torch.int8), torch.from_numpy(bias), **parts)


def codes(rng, *shape, extreme=False):
    return (rng.choice([-128, 127], shape) if extreme else rng.integers(-128, 128, shape)).astype(np.int8)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("extreme", [False, True])
@given(m=st.integers(0, 70), n=st.integers(1, 70), k=st.integers(1, 40) | st.integers(41, 200), seed=st.integers(0, 10**6))
def test_int8_linear_is_exact_on_every_tail(isa, extreme, m, n, k, seed):
    rng = np.random.default_rng(seed + 1)
    x = codes(rng, m, k, extreme=extreme)
    weight, bias, parts = random_layer(n, k, seed, extreme=extreme)
    expected = numpy_requantize(numpy_sums(x, weight, bias, parts["input_zero_point"]), parts)
    with kernels.use_isa(isa):
        assert np.array_equal(ops.int8_linear(torch.from_numpy(x), pack(weight, bias, parts), n).numpy(), expected)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(1, 784, 300), (64, 300, 100), (65, 1030, 33), (3, 32768, 17), (200, 64, 256), (259, 4099, 260)])
@pytest.mark.parametrize("extreme", [False, True])
def test_large_layers_are_exact_with_and_without_threads(isa, shape, extreme):
    m, k, n = shape
    x = codes(np.random.default_rng(1), m, k, extreme=extreme)
    weight, bias, parts = random_layer(n, k, 2, extreme=extreme, input_zero_point=-128)
    expected = numpy_requantize(numpy_sums(x, weight, bias, -128), parts)
    before = torch.get_num_threads()
    with kernels.use_isa(isa):
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert np.array_equal(ops.int8_linear(torch.from_numpy(x), pack(weight, bias, parts), n).numpy(), expected)
    torch.set_num_threads(before)


@native
@pytest.mark.parametrize("isa", ISAS)
@given(m=st.integers(0, 9), n=st.integers(1, 40), k=st.integers(1, 70), seed=st.integers(0, 10**6))
def test_real_outputs_equal_float32_arithmetic(isa, m, n, k, seed):
    rng = np.random.default_rng(seed)
    weight, bias, parts = random_layer(n, k, seed)
    layer, scale, real_bias = pack(weight, bias, parts), parts["scale"].numpy(), parts["real_bias"].numpy()
    x = codes(rng, m, k)
    reals = rng.normal(size=(m, k)).astype(np.float32) * np.float32(10.0) ** rng.integers(-30, 30, (m, 1)).astype(np.float32)
    row_scale = np.abs(reals).max(1, keepdims=True) / np.float32(127)
    row_codes = np.clip(np.round(reals / row_scale), -128, 127)
    with kernels.use_isa(isa):
        static = ops.int8_linear_float(torch.from_numpy(x), layer, n).numpy()
        dynamic = ops.int8_dynamic_linear(torch.from_numpy(reals), pack(weight, bias, parts | {"input_zero_point": 0}), n).numpy()
    assert np.array_equal(static, numpy_sums(x, weight, bias, parts["input_zero_point"]).astype(np.float32) * scale + real_bias)
    assert np.array_equal(dynamic, numpy_sums(row_codes, weight, bias, 0).astype(np.float32) * (row_scale * scale) + real_bias)


@native
@pytest.mark.parametrize("isa", ISAS)
@given(seed=st.integers(0, 10**6), zero=st.integers(-128, 127), count=st.integers(0, 3000), scale=st.sampled_from([0.25, 0.1, 1e-30, 7e9]))
def test_quantize_equals_numpy(isa, seed, zero, count, scale):
    halves = np.random.default_rng(seed).integers(-400, 400, count) / 2  # exact ties where the scale is a power of two
    x = (halves * scale).astype(np.float32)
    x[: count // 9] *= 1e20  # far outside
    expected = np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127)
    with kernels.use_isa(isa):
        assert np.array_equal(ops.quantize_int8(torch.from_numpy(x), scale, zero).numpy(), expected)


def quotients_next_to_ties():
    """Every pair (x, S) of 24-bit integers with x / S = m (1 + d), |d| < 2^-44, where m is a middle between two floats of which one is
    1/2, 3/2, ..., 511/2, times a power of two: there a quotient that is not rounded exactly may end in another code.

    x 2^u = M S + e with M = m in units of its last bit leaves one S modulo 2^u for each small e.
    """
    found = []
    for twice in range(1, 512, 2):
        high = 24 - twice.bit_length()
        for middle in {2 * (twice << high) + 1, 2 * (twice << high) - 1 if twice > 1 else 4 * (twice << high) - 1}:
            for u in (24, 25):
                inverse = pow(middle, -1, 2**u)
                for e in range(-32, 33):
                    s = -e * inverse % 2**u
                    x = (middle * s + e) >> u
                    if 2**23 <= s < 2**24 and 2**23 <= x < 2**24:
                        power = round(np.log2(twice / 2 * s / x))
                        found.append((x * 2.0**power, float(s)))
    return np.array(found, dtype=np.float32)


@native
@pytest.mark.parametrize("isa", ISAS)
def test_a_quotient_next_to_a_tie_is_rounded_as_a_division_rounds_it(isa):
    pairs = quotients_next_to_ties()
    assert len(pairs) > 10_000
    with kernels.use_isa(isa):
        for sign, zero in ((1, -128), (-1, 127)):  # all quotients up to 255.5 show in the codes
            expected = np.clip(np.rint(sign * pairs[:, 0] / pairs[:, 1]) + zero, -128, 127)
            got = [ops.quantize_int8(torch.full((64,), sign * x), s, zero)[0].item() for x, s in pairs.tolist()]
            assert np.array_equal(got, expected)


@given(real=st.floats(2.0**-40, 2.0**28), a=st.integers(-(2**31), 2**31 - 1), zero=st.integers(-128, 127))
def test_requantize_is_the_exact_product_rounded(real, a, zero):
    multiplier, shift = reference.quantize_multiplier(torch.tensor([real], dtype=torch.float64))
    factor = Fraction(int(multiplier), 2 ** int(shift))
    assert abs(factor - Fraction(real)) <= Fraction(real) / 2**30 + Fraction(1, 2**62)
    expected = min(max(floor(a * factor + Fraction(1, 2)) + zero, -128), 127)
    assert reference.requantize(torch.tensor([a]), multiplier, shift, zero).item() == expected


@native
@pytest.mark.parametrize("isa", ISAS)
def test_every_shift_and_sign_requantizes_as_the_reference(isa):
    for shift in range(1, 63):
        k = 4
        weight = torch.randint(-127, 128, (48, k), generator=torch.Generator().manual_seed(shift), dtype=torch.int8)
        bias = torch.randint(-(2**30), 2**30, (48,), generator=torch.Generator().manual_seed(99 + shift))
        layer = pack_layer(weight, bias, multiplier=torch.tensor(2**31 - 1 - shift), shift=torch.tensor(shift), zero_point=3)
        x = torch.randint(-128, 128, (5, k), generator=torch.Generator().manual_seed(7), dtype=torch.int8)
        with kernels.use_isa(isa):
            assert torch.equal(ops.int8_linear(x, layer, 48), portable.int8_linear(x, layer, 48)), shift


@native
@pytest.mark.parametrize("isa", ISAS)
@given(seed=st.integers(0, 10**6), rows=st.integers(0, 130), widths=st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_a_plan_equals_its_layers_one_by_one(isa, seed, rows, widths):
    packed = [pack(*random_layer(n, k, seed + n)) for k, n in zip(widths, widths[1:])]
    plan = pack_plan(packed, 0.05, -7)
    x = torch.randn(rows, widths[0], generator=torch.Generator().manual_seed(seed))
    step = portable.quantize_int8(x, 0.05, -7)
    for layer, n in zip(packed[:-1], widths[1:]):
        step = portable.int8_linear(step, layer, n)
    expected = portable.int8_linear_float(step, packed[-1], widths[-1])
    with kernels.use_isa(isa):
        assert torch.equal(ops.int8_plan(x, plan, widths[-1]), expected)
    assert torch.equal(portable.int8_plan(x, plan, widths[-1]), expected)


@given(n=st.integers(1, 40), k=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_packing_keeps_everything(n, k, seed):
    weight, bias, parts = random_layer(n, k, seed)
    opened = unpack_layer(pack(weight, bias, parts))
    assert np.array_equal(opened.weight.numpy(), weight)
    assert np.array_equal(opened.bias.numpy(), bias - parts["input_zero_point"] * weight.sum(1))
    assert (opened.zero_point, opened.lowest, opened.highest) == (parts["zero_point"], -128, 127)
    assert all(torch.equal(getattr(opened, name), parts[name]) for name in ("multiplier", "shift", "scale", "real_bias"))


def test_weights_are_packed_in_blocks_of_16_outputs_by_4_inputs():
    weight = torch.arange(17 * 5, dtype=torch.int8).reshape(17, 5)
    packed = pack_weight(weight).view(torch.int8).reshape(2, 2, 16, 4)  # [N/16][K/4][16][4]
    for output in range(17):
        for k in range(5):
            assert packed[output // 16, k // 4, output % 16, k % 4] == weight[output, k]
    assert packed.to(torch.int64).sum() == weight.to(torch.int64).sum()


def test_relu_is_a_clamp_at_the_zero_point():
    layer = pack_layer(torch.tensor([[100]], dtype=torch.int8), multiplier=torch.tensor(2**30), shift=torch.tensor(32),
                       zero_point=-28, lowest=-28)
    assert ops.int8_linear(torch.tensor([[-4], [0], [4]], dtype=torch.int8), layer, 1).flatten().tolist() == [-28, -28, 72]


def test_strides_leading_axes_and_half_precision():
    weight, bias, parts = random_layer(6, 10, 3, input_zero_point=0)
    layer = pack(weight, bias, parts)
    x = torch.randn(10, 4, 3, generator=torch.Generator().manual_seed(0)).permute(2, 1, 0)
    assert not x.is_contiguous()
    expected = ops.int8_dynamic_linear(x.contiguous().reshape(12, 10), layer, 6).reshape(3, 4, 6)
    assert torch.equal(ops.int8_dynamic_linear(x, layer, 6), expected)
    assert torch.equal(ops.int8_dynamic_linear(x[0, 0], layer, 6), expected[0, 0])
    half = ops.int8_dynamic_linear(x.bfloat16(), layer, 6)
    assert half.dtype == torch.bfloat16 and torch.equal(half, ops.int8_dynamic_linear(x.bfloat16().float(), layer, 6).bfloat16())


def test_a_row_of_zeros_and_the_smallest_and_largest_floats():
    layer = pack_layer(torch.tensor([[127, -127]], dtype=torch.int8), scale=torch.tensor(1.0), real_bias=torch.tensor(0.5))
    x = torch.tensor([[0.0, 0.0], [1e-45, 0.0], [0.0, 3e38], [-1e-38, 1e-38]])
    y = ops.int8_dynamic_linear(x, layer, 1)
    assert torch.equal(y, portable.int8_dynamic_linear(x, layer, 1)) and not y.isnan().any() and y[0] == 0.5


SAMPLES = {
    ops.quantize_int8: lambda: (torch.randn(3, 5), 0.1, 3),
    ops.int8_linear: lambda: (torch.ones(2, 3, 7, dtype=torch.int8), pack(*random_layer(5, 7, 0)), 5),
    ops.int8_linear_float: lambda: (torch.ones(3, 7, dtype=torch.int8), pack(*random_layer(5, 7, 0)), 5),
    ops.int8_dynamic_linear: lambda: (torch.randn(3, 7), pack(*random_layer(5, 7, 0)), 5),
    ops.int8_plan: lambda: (torch.randn(3, 7, 1), pack_plan([pack(*random_layer(5, 7, 0))], 0.1, 0), 5),
}


@pytest.mark.parametrize("op", SAMPLES, ids=lambda op: op.name())
def test_opcheck(op):
    torch.library.opcheck(op, SAMPLES[op]())


@pytest.mark.parametrize("op", SAMPLES, ids=lambda op: op.name())
def test_compile_in_one_graph_and_export(op):
    x, *rest = SAMPLES[op]()

    class Call(torch.nn.Module):
        def forward(self, x):
            return op(x, *rest) + 1

    expected = op(x, *rest) + 1
    assert torch.equal(torch.compile(Call(), fullgraph=True, backend="aot_eager")(x), expected)
    batch = {0: torch.export.Dim("batch", min=2)}
    exported = torch.export.export(Call(), (x,), dynamic_shapes=(batch,)).module()
    assert torch.equal(exported(x), expected) and exported(torch.cat([x, x])).shape[0] == 2 * x.shape[0]


def test_inductor_compiles_an_op():
    x, layer, n = SAMPLES[ops.int8_dynamic_linear]()
    compiled = torch.compile(lambda x: ops.int8_dynamic_linear(x, layer, n), fullgraph=True)
    assert torch.equal(compiled(x), ops.int8_dynamic_linear(x, layer, n))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [0, 1030, 2099])
def test_not_finite_inputs_are_refused(bad, at):
    x = torch.zeros(3, 700)
    x.view(-1)[at] = bad
    layer = pack_layer(torch.ones(2, 700, dtype=torch.int8))
    for call in (lambda: ops.quantize_int8(x, 0.1, 0), lambda: ops.int8_dynamic_linear(x, layer, 2),
                 lambda: ops.int8_plan(x, pack_plan([layer], 0.1, 0), 2), lambda: portable.int8_dynamic_linear(x, layer, 2)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            call()


@pytest.mark.parametrize("kind", [ops, portable], ids=["ops", "portable"])
def test_wrong_sizes_and_types_are_named(kind):
    layer = pack_layer(torch.ones(2, 7, dtype=torch.int8))
    x = torch.zeros(3, 7, dtype=torch.int8)
    for wrong in ((x[:, :6], layer, 2), (x, layer, 3), (x[:, :0], layer, 2), (x, layer[:-1], 2), (x, layer[:10], 2),
                  (x, layer[:0], 2), (x, torch.zeros_like(layer), 2), (x, layer.view(2, -1), 2)):
        with pytest.raises(ValueError, match="expected|fit|not a layer"):
            kind.int8_linear(*wrong)
    if kind is ops:
        for wrong in ((x.float(), layer, 2), (x, layer.float(), 2), (x.to(torch.uint8), layer, 2)):
            with pytest.raises(ValueError, match="expected"):
                kind.int8_linear(*wrong)
        for out_features in (0, -1):
            with pytest.raises(ValueError, match="out_features"):
                kind.int8_linear(x, layer, out_features)
        with pytest.raises(ValueError, match="no axis"):
            kind.int8_dynamic_linear(torch.tensor(1.0), layer, 2)
    for scale, zero in ((0.0, 0), (-1.0, 0), (float("nan"), 0), (float("inf"), 0), (1.0, 128), (1.0, -129)):
        if kind is ops:
            with pytest.raises(ValueError, match="expected"):
                kind.quantize_int8(torch.zeros(2), scale, zero)


def test_layers_that_cannot_be_packed_are_named():
    weight = torch.ones(2, 3, dtype=torch.int8)
    for wrong, what in (((weight.float(),), "int8"), ((weight[0],), "outputs, inputs"), ((weight[:0],), "not empty"),
                        ((weight * -128,), "-128"), ((weight, torch.tensor([2**31, 0])), "2\\^30"), ((weight, torch.ones(3).int()), "3 values"),
                        ((weight, torch.ones(2)), "integers"), ((torch.ones(1, 40000, dtype=torch.int8),), "32768")):
        with pytest.raises((TypeError, ValueError), match=what):
            pack_layer(*wrong)
    for wrong in (dict(zero_point=128), dict(lowest=5, highest=4), dict(shift=torch.tensor(0)), dict(shift=torch.tensor(63)),
                  dict(scale=torch.tensor(float("nan"))), dict(multiplier=torch.tensor(0.5))):
        with pytest.raises((TypeError, ValueError), match="expected"):
            pack_layer(weight, **wrong)
    for real in (0.0, -1.0, 2.0**29, float("nan")):
        with pytest.raises(ValueError, match="multipliers"):
            reference.quantize_multiplier(torch.tensor([0.5, real]))
    with pytest.raises(ValueError, match="feeds"):
        pack_plan([pack_layer(weight), pack_layer(weight)], 0.1, 0)


@pytest.mark.parametrize("isa", ISAS or ["torch"])
@given(data=st.data())
def test_altered_bytes_never_crash(isa, data):
    """Whatever a file holds, the operators answer or raise ValueError; the sanitizer build runs this test too."""
    good = pack_plan([pack(*random_layer(5, 7, 0)), pack(*random_layer(3, 5, 1))], 0.1, 0)
    layer = pack(*random_layer(5, 7, 0))
    for start, run in ((good, lambda b: ops.int8_plan(torch.ones(2, 7), b, 3)),
                       (layer, lambda b: ops.int8_linear(torch.ones(2, 7, dtype=torch.int8), b, 5)),
                       (layer, lambda b: ops.int8_dynamic_linear(torch.ones(2, 7), b, 5))):
        altered = start.clone()
        for _ in range(data.draw(st.integers(1, 4))):
            altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
        altered = altered[: data.draw(st.one_of(st.just(len(altered)), st.integers(0, len(altered))))]
        try:
            run(altered.clone())
        except ValueError:
            pass


def test_unpacking_a_plan_returns_its_layers():
    layers = [pack(*random_layer(5, 7, 0)), pack(*random_layer(3, 5, 1))]
    opened = unpack_plan(pack_plan(layers, 0.25, -3))
    assert all(map(torch.equal, opened.stages, layers)) and (opened.scale, opened.zero_point, opened.image) == (0.25, -3, (7, 1, 1))


def test_a_plan_takes_no_rows_strides_and_inner_axes():
    plan = pack_plan([pack_layer(torch.ones(3, 6, dtype=torch.int8))], 0.5, 0)
    x = torch.arange(24.0).reshape(3, 2, 4).permute(2, 0, 1)
    assert torch.equal(torch.ops.qtoolkit.int8_plan(x, plan, 3), torch.ops.qtoolkit.int8_plan(x.reshape(4, 6), plan, 3))
    assert torch.ops.qtoolkit.int8_plan(x[:0], plan, 3).shape == (0, 3)
    assert torch.ops.qtoolkit.int8_plan(torch.ones(2), pack_plan([pack_layer(torch.ones(1, 1, dtype=torch.int8))], 0.5, 0), 1).shape == (2, 1)
