"""Operators that torch calls without Python on the way: the same results and errors as their Python twins, and nothing leaks."""

import resource

import pytest
import torch

from qtoolkit.kernels import binary_conv, ops  # noqa: F401  (imported for its operator)
from qtoolkit.kernels._lib import bind, library
from qtoolkit.kernels.conv import int8_conv2d as ops_conv, pack_conv
from qtoolkit.kernels.layer import pack_layer
from qtoolkit.kernels.plan import pack_plan
from qtoolkit.kernels.table import pack_binary
from qtoolkit.kernels.tile_sparse import pack_tile_sparse

pytestmark = pytest.mark.skipif(library is None, reason="the compiled kernels are missing")


def some_layer(inputs: int = 40, outputs: int = 24, pack=pack_layer) -> torch.Tensor:
    weight = torch.randint(-127, 128, (outputs, inputs), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    return pack(weight, scale=torch.full((outputs,), 1e-3), multiplier=torch.full((outputs,), 2**30, dtype=torch.int32),
                shift=torch.full((outputs,), 40, dtype=torch.int32))


def codes(*shape: int) -> torch.Tensor:
    return torch.randint(-128, 128, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int8)


def images(channels: int) -> torch.Tensor:
    return codes(6, channels, 9, 8).contiguous(memory_format=torch.channels_last)


def some_conv(groups: int = 1) -> torch.Tensor:
    return pack_conv(codes(12, 12 // groups, 3, 2).clamp(-127), multiplier=torch.tensor(2**30, dtype=torch.int32),
                     shift=torch.tensor(40, dtype=torch.int32), groups=groups)


GEOMETRY = ([3, 2], [2, 1], [1, 0], [1, 2])
CASES = {
    "int8_linear": lambda: (codes(5, 3, 40), some_layer(), 24),
    "int8_linear_float": lambda: (codes(7, 40), some_layer(), 24),
    "int8_dynamic_linear": lambda: (torch.randn(2, 1, 40), some_layer(), 24),
    "int8_tile_sparse_linear": lambda: (codes(5, 3, 40), some_layer(pack=pack_tile_sparse), 24),
    "int8_plan": lambda: (torch.rand(9, 4, 10), pack_plan([some_layer(), some_layer(24, 3)], 0.01, 3), 3),
    "int8_conv2d": lambda: (images(12), some_conv(), 12, *GEOMETRY),
    "int8_conv2d in groups": lambda: (images(12), some_conv(3), 12, *GEOMETRY, 3),
    "int8_conv2d depthwise": lambda: (images(12), some_conv(12), 12, *GEOMETRY, 12),
    "binary_conv2d": lambda: (images(12).float(), pack_binary(codes(5, 12, 3, 2).float()), 5, *GEOMETRY),
}
CONVOLUTIONS = [name for name in CASES if "conv" in name]


def both(name: str):
    name = name.split()[0]
    return getattr(torch.ops.qtoolkit, name).default, getattr(torch.ops.qtoolkit, f"_{name}").default


@pytest.mark.parametrize("name", CASES)
def test_direct_and_twin_give_the_same_bits(name):
    direct, twin = both(name)
    x, *rest = CASES[name]()
    for given in (x, x[:0], x[:1], x.transpose(0, 0), x.repeat_interleave(2, 0)[::2], x.contiguous()):
        one, other = direct(given, *rest), twin(given, *rest)
        assert one.dtype == other.dtype and one.shape == other.shape and one.stride() == other.stride() and torch.equal(one, other)


@pytest.mark.parametrize("name", ["int8_dynamic_linear", "int8_plan", "binary_conv2d"])
def test_other_dtypes_and_strides_take_the_way_round(name):
    direct, twin = both(name)
    x, *rest = CASES[name]()
    for given in (x.double(), x.half(), torch.stack([x, x], -1)[..., 0]):
        assert torch.equal(direct(given, *rest), twin(given, *rest))


@pytest.mark.parametrize("x", [torch.randn(3, 0, 5), torch.randn(0), torch.tensor(0.3), torch.randn(2, 3, 70), torch.randn(9, 8, 7).transpose(0, 2),
                               torch.randn(200, dtype=torch.float64), torch.randn(*[1] * 8, 3), torch.randn(*[1] * 9, 3)],
                         ids=lambda x: f"{x.dtype} {list(x.shape)} {list(x.stride())}")
@pytest.mark.parametrize("scale, zero", [(0.02, -5), (1, 127), (3e-38, -128), (9e37, 0)])
def test_quantizing_gives_the_same_bits(x, scale, zero):
    direct, twin = both("quantize_int8")
    one, other = direct(x, scale, zero), twin(x, scale, zero)
    assert one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other) and one.stride() == other.stride()


@pytest.mark.parametrize("scale, zero", [(0.0, 0), (-1.0, 0), (float("nan"), 0), (float("inf"), 0), (1e-39, 0), (1e38, 0), (0.1, -129), (0.1, 2**40)])
def test_quantizing_refuses_alike(scale, zero):
    refused_alike(*both("quantize_int8"), torch.randn(5), scale, zero)
    for x in (torch.tensor([1.0, float("nan")]), torch.tensor([-float("inf")] * 70), torch.zeros(3, dtype=torch.int32)):
        refused_alike(*both("quantize_int8"), x, 0.1, 0)


@pytest.mark.parametrize("name", CASES)
def test_errors_have_the_type_and_the_words_of_the_twin(name):
    direct, twin = both(name)
    x, layer, outputs, *geometry = CASES[name]()
    narrow = x[:, :-1] if geometry else x[..., :-1]
    wrong = [(x, layer, outputs + 1), (x, layer, 0), (narrow, layer, outputs), (x, layer[:-4], outputs), (x, layer.float(), outputs),
             (x.long(), layer, outputs)]
    if x.is_floating_point():
        wrong.append((torch.full_like(x, float("nan")), layer, outputs))
    for arguments in wrong:
        refused_alike(direct, twin, *arguments, *geometry)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("which, pair", [(0, [0, 3]), (0, [40, 2]), (0, [2**21, 2]), (1, [0, 1]), (1, [2**40, 1]), (2, [-1, 0]), (3, [1, 2**31])])
def test_geometries_that_do_not_fit_are_refused_alike(name, which, pair):
    x, layer, outputs, *geometry = CASES[name]()
    geometry[which] = pair
    refused_alike(*both(name), x, layer, outputs, *geometry)


@pytest.mark.parametrize("groups", [0, -1, 5, 2**40])
def test_groups_that_do_not_fit_are_refused_alike(groups):
    refused_alike(*both("int8_conv2d"), *CASES["int8_conv2d"](), groups)


def refused_alike(direct, twin, *arguments):
    with pytest.raises(ValueError) as asked:
        direct(*arguments)
    with pytest.raises(ValueError) as expected:
        twin(*arguments)
    assert str(asked.value) == str(expected.value) and "\n" not in str(asked.value)


def test_only_known_operators_are_bound():
    assert not bind("no_such_operator")


def growth_in_kb(calls: int, call, refused) -> int:
    """How much more memory this process needs for so many calls, every twentieth of them refused."""
    for _ in range(100):
        call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(calls):
        if i % 20:
            call()
        else:
            with pytest.raises(ValueError):
                refused()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def test_no_result_is_lost():
    """A lost result of 96 kB in each call, or in each that is refused, would be 2 GB or 100 MB."""
    x, layer = torch.zeros(1000, 40, dtype=torch.int8), some_layer()
    assert growth_in_kb(20_000, lambda: ops.int8_linear_float(x, layer, 24), lambda: ops.int8_linear_float(x, layer, 25)) < 50_000


def test_no_argument_is_lost():
    """As many arguments of 384 kB would be 770 MB."""
    assert growth_in_kb(2000, lambda: ops.quantize_int8(torch.zeros(1000, 96), 0.1, 0), lambda: ops.quantize_int8(torch.zeros(1000, 96), 0.1, 128)) < 50_000


def test_no_list_is_lost():
    """Four lost lists of two numbers are some 240 bytes, here 48 MB."""
    x, layer, outputs, *geometry = CASES["int8_conv2d"]()
    assert growth_in_kb(200_000, lambda: ops_conv(x, layer, outputs, *geometry), lambda: ops_conv(x, layer, 13, *geometry)) < 30_000
