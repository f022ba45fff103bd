"""Few-bit layers: exact agreement of every instruction set with the reference, and of the reference with real arithmetic."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit import kernels
from qtoolkit.kernels.groupwise import groupwise_linear, pack_groupwise, portable_groupwise_linear, unpack_groupwise

ISAS = kernels.info()["isas_available"]
native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")


def layer_of(bits, n, k, group, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-(1 << bits - 1), 1 << bits - 1, (n, k), generator=generator, dtype=torch.int8)
    scale = torch.rand(n, -(-k // group), generator=generator) + 0.01
    return weight, scale, torch.randn(n, generator=generator)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("bits", [4, 2])
@given(m=st.integers(0, 9), n=st.integers(1, 150), k=st.integers(1, 200), steps=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_native_equals_the_reference_bit_for_bit(isa, bits, m, n, k, steps, seed):
    weight, scale, bias = layer_of(bits, n, k, group := steps * 32 // bits, seed)
    layer = pack_groupwise(weight, scale, bits=bits, group=group, bias=bias)
    x = torch.randn(m, k, generator=torch.Generator().manual_seed(seed))
    with kernels.use_isa(isa):
        assert torch.equal(groupwise_linear(x, layer, n), portable_groupwise_linear(x, layer, n))


@pytest.mark.parametrize("bits", [4, 2])
def test_it_is_the_layer_of_its_dequantized_weights(bits):
    """Against float64 arithmetic on s_g q: only the quantization of x may differ, by at most half a step a value."""
    weight, scale, bias = layer_of(bits, 40, 256, 64, 0)
    x = torch.randn(7, 256, generator=torch.Generator().manual_seed(1))
    real = scale.double().repeat_interleave(64, 1) * weight.double()
    got = groupwise_linear(x, pack_groupwise(weight, scale, bits=bits, group=64, bias=bias), 40)
    worst = (x.abs().amax(1, keepdim=True).double() / 254) * real.abs().sum(1)
    assert ((got - (x.double() @ real.T + bias)).abs() <= worst * 1.001).all()


@native
def test_threads_and_large_layers_change_nothing():
    weight, scale, bias = layer_of(4, 700, 2048, 128, 0)
    layer, x = pack_groupwise(weight, scale, bias=bias), torch.randn(70, 2048, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        assert torch.equal(groupwise_linear(x, layer, 700), portable_groupwise_linear(x, layer, 700))
    torch.set_num_threads(before)


@given(bits=st.sampled_from([2, 4]), n=st.integers(1, 40), k=st.integers(1, 80), seed=st.integers(0, 10**6))
def test_packing_keeps_everything(bits, n, k, seed):
    weight, scale, bias = layer_of(bits, n, k, 16, seed)
    opened = unpack_groupwise(pack_groupwise(weight, scale, bits=bits, group=16, bias=bias))
    assert torch.equal(opened.weight, weight) and torch.equal(opened.scale, scale) and torch.equal(opened.bias, bias)


def test_four_bits_take_half_the_bytes_of_eight():
    weight, scale, _ = layer_of(4, 1024, 1024, 128, 0)
    assert pack_groupwise(weight, scale).numel() < 1024 * 1024 * (4 + 32 / 128) / 8 + 5000


def test_opcheck_compile_and_half_precision():
    weight, scale, bias = layer_of(2, 5, 20, 16, 0)
    layer, x = pack_groupwise(weight, scale, bits=2, group=16, bias=bias), torch.randn(2, 3, 20)
    torch.library.opcheck(groupwise_linear, (x, layer, 5))
    compiled = torch.compile(lambda x: groupwise_linear(x, layer, 5) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), groupwise_linear(x, layer, 5) + 1)
    assert groupwise_linear(x.half(), layer, 5).dtype == torch.float16


def test_what_does_not_fit_is_named():
    weight, scale, _ = layer_of(4, 5, 20, 8, 0)
    layer = pack_groupwise(weight, scale, group=8)
    for wrong, what in (((weight.float(), scale), "int8"), ((weight, scale[:, :1]), "scale"), ((weight * 2, scale), "codes"),
                        ((weight, scale * float("nan")), "finite")):
        with pytest.raises((TypeError, ValueError), match=what):
            pack_groupwise(*wrong, group=8)
    for options in (dict(bits=3), dict(group=12), dict(group=0), dict(bias=torch.zeros(4))):
        with pytest.raises(ValueError, match="expected"):
            pack_groupwise(weight, scale, **dict(group=8) | options)
    for wrong in ((torch.zeros(2, 19), layer, 5), (torch.zeros(2, 20), layer, 6), (torch.zeros(2, 20), layer[:-1], 5),
                  (torch.full((1, 20), float("nan")), layer, 5)):
        with pytest.raises(ValueError, match="expected|fit|not a groupwise"):
            groupwise_linear(*wrong)


@given(data=st.data())
def test_altered_bytes_never_crash(data):
    weight, scale, _ = layer_of(2, 18, 40, 16, 0)
    altered = pack_groupwise(weight, scale, bits=2, group=16).clone()
    for _ in range(data.draw(st.integers(1, 4))):
        altered[data.draw(st.one_of(st.integers(0, 19), st.integers(0, len(altered) - 1)))] = data.draw(st.integers(0, 255))
    try:
        groupwise_linear(torch.ones(2, 40), altered[: data.draw(st.sampled_from([len(altered), len(altered) - 1, 64, 3]))].clone(), 18)
    except ValueError:
        pass
