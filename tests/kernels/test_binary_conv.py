"""Convolutions of signs on every instruction set, against torch's convolution of +1, -1 and 0 in float64 (exact for such sums)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit import kernels
from qtoolkit.kernels.binary_conv import binary_conv2d, portable_binary_conv2d
from qtoolkit.kernels.table import pack_binary, pack_codebook, pack_ternary

ISAS = kernels.info()["isas_available"]
pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def expected(x, weight, scale, bias, stride, padding, dilation):
    """Pad with zeros, then take signs with sign(0) = +1: both steps written out here."""
    padded = F.pad(x.double(), (padding[1], padding[1], padding[0], padding[0]))
    sums = F.conv2d(torch.where(padded < 0, -1.0, 1.0).double(), weight.double(), stride=stride, dilation=dilation)
    return sums.float() * scale[:, None, None] + bias[:, None, None]


@pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")
@pytest.mark.parametrize("isa", ISAS)
@given(images=st.integers(0, 3), channels=st.integers(1, 70), outputs=st.integers(1, 40), size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
       kernel=pair, stride=pair, padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), dilation=pair, ternary=st.booleans(),
       seed=st.integers(0, 10**6))
def test_every_shape(isa, images, channels, outputs, size, kernel, stride, padding, dilation, ternary, seed):
    if any(s + 2 * p < d * (k - 1) + 1 for s, p, d, k in zip(size, padding, dilation, kernel)):
        return
    x, scale, bias = randn(images, channels, *size, seed=seed), randn(outputs, seed=seed + 1), randn(outputs, seed=seed + 2)
    x[x.abs() < 0.2] = 0.0
    weight = torch.randint(-1 if ternary else 0, 2, (outputs, channels, *kernel), generator=torch.Generator().manual_seed(seed))
    weight = weight if ternary else 2 * weight - 1
    layer = (pack_ternary if ternary else pack_binary)(weight.float(), scale, bias)
    with kernels.use_isa(isa):
        got = binary_conv2d(x, layer, outputs, kernel, stride, padding, dilation)
    assert torch.equal(got, expected(x, weight, scale, bias, stride, padding, dilation))


def test_opcheck_compile_memory_formats_threads_and_half_precision():
    x, layer, rest = randn(3, 40, 20, 20), pack_ternary(randn(24, 40, 3, 3).round()), (24, [3, 3], [1, 1], [1, 1], [1, 1])
    torch.library.opcheck(binary_conv2d, (x, layer, *rest))
    plain = binary_conv2d(x, layer, *rest)
    assert plain.is_contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(lambda x: binary_conv2d(x, layer, *rest) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), plain + 1)
    assert torch.equal(binary_conv2d(x.contiguous(memory_format=torch.channels_last), layer, *rest), plain)
    assert torch.equal(portable_binary_conv2d(x, layer, *rest), plain)
    assert binary_conv2d(x.bfloat16(), layer, *rest).dtype == torch.bfloat16
    before = torch.get_num_threads()
    for threads, images in ((3, 3), (3, 1), (1, 2)):
        torch.set_num_threads(threads)
        assert torch.equal(binary_conv2d(x[:images], layer, *rest), plain[:images])
    torch.set_num_threads(before)


@pytest.mark.parametrize("run", [binary_conv2d, portable_binary_conv2d])
def test_what_does_not_fit_is_named(run):
    x, layer, rest = randn(1, 4, 5, 5), pack_binary(randn(6, 4, 3, 3)), ([1, 1], [0, 0], [1, 1])
    for wrong in ((x[:, :3], layer, 6, [3, 3]), (x, layer, 7, [3, 3]), (x, layer, 6, [3, 2]), (x, layer[:-1], 6, [3, 3]),
                  (x * float("nan"), layer, 6, [3, 3]), (x, pack_codebook(torch.zeros(6, 4).long(), torch.ones(2)), 6, [1, 1])):
        with pytest.raises(ValueError, match="fit|expected|are not a"):
            run(*wrong, *rest)


def test_wrong_arguments_are_named_and_altered_bytes_never_crash():
    x, layer = randn(2, 4, 5, 5), pack_ternary(randn(6, 4, 3, 3).round())
    for wrong in ((x.int(), layer, 6, [3, 3], [1, 1]), (x[0], layer, 6, [3, 3], [1, 1]), (x, layer, 6, [9, 9], [1, 1]), (x, layer, 6, [3, 3], [0, 1])):
        with pytest.raises(ValueError, match="expected"):
            binary_conv2d(*wrong, [0, 0], [1, 1])
    rng = np.random.default_rng(0)
    for _ in range(300):
        altered = layer.clone()
        altered[rng.integers(0, 300, 3)] = torch.from_numpy(rng.integers(0, 256, 3).astype(np.uint8))
        try:
            binary_conv2d(x, altered, 6, [3, 3], [1, 1], [1, 1], [1, 1])
        except ValueError:
            pass
