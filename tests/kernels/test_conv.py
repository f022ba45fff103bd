"""int8 convolution: exact integers on every instruction set, every stride, padding, dilation and tail."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit import kernels
from qtoolkit.kernels import ops, reference
from qtoolkit.kernels.conv import int8_conv2d, pack_conv
from qtoolkit.kernels.portable import int8_conv2d as portable_int8_conv2d

ISAS = kernels.info()["isas_available"]
native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")


def layer_of(out, channels, kernel, seed, **parts):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.integers(-127, 128, (out, channels, *kernel)).astype(np.int8))
    bias = torch.from_numpy(rng.integers(-(2**15), 2**15, out))
    multiplier, shift = reference.quantize_multiplier(torch.from_numpy(rng.uniform(1e-4, 1e-2, out)))
    parts = dict(input_zero_point=int(rng.integers(-128, 128)), zero_point=int(rng.integers(-128, 128)), multiplier=multiplier, shift=shift) | parts
    return weight, bias, parts


def by_patches(x, weight, bias, parts, stride, padding, dilation):
    """An independent way: im2col by torch's unfold, numpy's integer product, the real number 0 as padding."""
    real = F.pad(x.double() - parts["input_zero_point"], (padding[1], padding[1], padding[0], padding[0]))
    patches = F.unfold(real, weight.shape[2:], dilation, stride=stride).transpose(1, 2).numpy().astype(np.int64)
    sums = patches @ weight.flatten(1).numpy().astype(np.int64).T + bias.numpy()
    return reference.requantize(torch.from_numpy(sums), parts["multiplier"], parts["shift"], parts["zero_point"]).transpose(1, 2)


@native
@pytest.mark.parametrize("isa", ISAS)
@given(images=st.integers(0, 3), channels=st.integers(1, 9), out=st.integers(1, 40), size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
       kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)), stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
       padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)), seed=st.integers(0, 10**6))
def test_conv_is_exact(isa, images, channels, out, size, kernel, stride, padding, dilation, seed):
    if any(s + 2 * p < d * (k - 1) + 1 for s, k, p, d in zip(size, kernel, padding, dilation)):
        return
    weight, bias, parts = layer_of(out, channels, kernel, seed)
    x = torch.randint(-128, 128, (images, channels, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.int8)
    with kernels.use_isa(isa):
        got = int8_conv2d(x, pack_conv(weight, bias, **parts), out, kernel, stride, padding, dilation)
    if images:
        assert torch.equal(got.flatten(2), by_patches(x, weight, bias, parts, stride, padding, dilation))
    assert torch.equal(got, portable_int8_conv2d(x, pack_conv(weight, bias, **parts), out, kernel, stride, padding, dilation))


@native
@pytest.mark.parametrize("isa", ISAS)
@given(images=st.integers(1, 2), groups=st.integers(1, 50), inputs=st.integers(1, 5), outputs=st.sampled_from([1, 1, 2, 17]), depthwise=st.booleans(),
       size=st.tuples(st.integers(1, 14), st.integers(1, 14)), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), stride=st.integers(1, 2),
       padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), dilation=st.integers(1, 2), zero=st.sampled_from([-128, -1, 0, 3, 127]),
       seed=st.integers(0, 10**6))
def test_groups_and_depthwise_are_exact(isa, images, groups, inputs, outputs, depthwise, size, kernel, stride, padding, dilation, zero, seed):
    """Each group by itself through the independent way, and the definition in plain torch."""
    if any(s + 2 * p < dilation * (k - 1) + 1 for s, k, p in zip(size, kernel, padding)):
        return
    inputs, outputs, groups = (1, 1, groups) if depthwise else (inputs, outputs, groups % 6 + 1)
    weight, bias, parts = layer_of(groups * outputs, inputs, kernel, seed, input_zero_point=zero)
    x = torch.randint(-128, 128, (images, groups * inputs, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.int8)
    arguments = pack_conv(weight, bias, groups=groups, **parts), groups * outputs, kernel, [stride] * 2, padding, [dilation] * 2, groups
    with kernels.use_isa(isa):
        got = int8_conv2d(x, *arguments)
    for g in range(groups):
        of_group = slice(g * outputs, (g + 1) * outputs)
        own = parts | {name: parts[name][of_group] for name in ("multiplier", "shift")}
        expected = by_patches(x[:, g * inputs : (g + 1) * inputs], weight[of_group], bias[of_group], own, [stride] * 2, padding, [dilation] * 2)
        assert torch.equal(got[:, of_group].flatten(2), expected)
    assert torch.equal(got, portable_int8_conv2d(x, *arguments))


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("groups", [2, 40])
def test_extreme_codes_do_not_saturate(isa, groups):
    sign = torch.tensor([-127, 127], dtype=torch.int8)
    weight = sign[torch.arange(40 * (40 // groups) * 9) % 2].reshape(40, -1, 3, 3)
    x = torch.where(torch.arange(40).reshape(1, 40, 1, 1) % 2 == 0, -128, 127).to(torch.int8).expand(1, 40, 6, 7).contiguous()
    layer = pack_conv(weight, groups=groups, input_zero_point=-128, multiplier=torch.tensor(2**30), shift=torch.tensor(45))
    with kernels.use_isa(isa):
        got = int8_conv2d(x, layer, 40, [3, 3], [1, 1], [1, 1], [1, 1], groups)
    assert torch.equal(got, portable_int8_conv2d(x, layer, 40, [3, 3], [1, 1], [1, 1], [1, 1], groups))


@pytest.mark.parametrize("groups", [2, 6])
def test_groups_opcheck_compile_and_threads(groups):
    weight, bias, parts = layer_of(6, 6 // groups, (3, 3), 0)
    layer = pack_conv(weight, bias, groups=groups, **parts)
    x = torch.randint(-128, 128, (2, 6, 8, 9), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    rest = layer, 6, [3, 3], [2, 1], [1, 1], [1, 1], groups
    torch.library.opcheck(int8_conv2d, (x, *rest))
    compiled = torch.compile(lambda x: int8_conv2d(x, *rest), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), int8_conv2d(x, *rest))
    for wrong in ((x, *rest[:-1], 4), (x, *rest[:-1], 0), (x, *rest[:-1], 3), (x, *rest[:-1], 1), (x, layer[:-4], *rest[1:])):
        with pytest.raises(ValueError, match="expected|fit|not a layer"):
            int8_conv2d(*wrong)
    with pytest.raises(ValueError, match="groups is 4"):
        pack_conv(weight, bias, groups=4, **parts)


@native
def test_threads_over_images_and_over_pixels_change_nothing():
    weight, bias, parts = layer_of(64, 32, (3, 3), 0)
    layer, before = pack_conv(weight, bias, **parts), torch.get_num_threads()
    for images in (1, 7):
        x = torch.randint(-128, 128, (images, 32, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
        for threads in (1, 3):
            torch.set_num_threads(threads)
            got = int8_conv2d(x, layer, 64, [3, 3], [1, 1], [1, 1], [1, 1])
            torch.set_num_threads(before)
            assert torch.equal(got, portable_int8_conv2d(x, layer, 64, [3, 3], [1, 1], [1, 1], [1, 1]))


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("groups", [1, 3, 96])
def test_a_large_image_is_prepared_by_several_threads(isa, groups):
    weight, bias, parts = layer_of(96, 96 // groups, (3, 3), 0)
    layer, before = pack_conv(weight, bias, groups=groups, **parts), torch.get_num_threads()
    x = torch.randint(-128, 128, (1, 96, 41, 40), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    expected = portable_int8_conv2d(x, layer, 96, [3, 3], [2, 2], [1, 1], [1, 1], groups)
    with kernels.use_isa(isa):
        for threads in (1, 3):
            torch.set_num_threads(threads)
            got = int8_conv2d(x, layer, 96, [3, 3], [2, 2], [1, 1], [1, 1], groups)
            torch.set_num_threads(before)
            assert torch.equal(got, expected)


def sample():
    weight, bias, parts = layer_of(5, 3, (3, 2), 0)
    x = torch.randint(-128, 128, (2, 3, 7, 6), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    return x, pack_conv(weight, bias, **parts), 5, [3, 2], [2, 1], [1, 0], [1, 1]


def test_opcheck_compile_and_memory_formats():
    x, *rest = sample()
    torch.library.opcheck(int8_conv2d, (x, *rest))
    compiled = torch.compile(lambda x: int8_conv2d(x, *rest), fullgraph=True, backend="aot_eager")
    expected = int8_conv2d(x, *rest)
    assert torch.equal(compiled(x), expected) and expected.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(int8_conv2d(x.contiguous(memory_format=torch.channels_last), *rest), expected)


def test_what_does_not_fit_is_named():
    x, layer, out, *geometry = sample()
    for wrong in ((x[:, :2], layer, out, *geometry), (x, layer, 6, *geometry), (x, layer, out, [2, 2], *geometry[1:]), (x[0], layer, out, *geometry),
                  (x, layer[:-1], out, *geometry), (x, layer, out, [3, 2], [0, 1], [1, 0], [1, 1]), (x[:, :, :0], layer, out, *geometry)):
        with pytest.raises(ValueError, match="expected|fit|not a layer"):
            int8_conv2d(*wrong)
    with pytest.raises(ValueError, match="int8"):
        int8_conv2d(x.float(), layer, out, *geometry)
    with pytest.raises(ValueError, match="convolution|fit"):
        ops.int8_linear(torch.zeros(1, 3, dtype=torch.int8), layer, out)
