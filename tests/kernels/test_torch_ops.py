"""Operators that torch calls without Python on the way: the same results and errors as their Python twins, and nothing leaks."""

import resource

import pytest
import torch

from qtoolkit.kernels import ops
from qtoolkit.kernels._lib import bind, library
from qtoolkit.kernels.layer import pack_layer
from qtoolkit.kernels.plan import pack_plan
from qtoolkit.kernels.tile_sparse import pack_tile_sparse

pytestmark = pytest.mark.skipif(library is None, reason="the compiled kernels are missing")


def some_layer(inputs: int = 40, outputs: int = 24, pack=pack_layer) -> torch.Tensor:
    weight = torch.randint(-127, 128, (outputs, inputs), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    return pack(weight, scale=torch.full((outputs,), 1e-3), multiplier=torch.full((outputs,), 2**30, dtype=torch.int32),
                shift=torch.full((outputs,), 40, dtype=torch.int32))


def codes(*shape: int) -> torch.Tensor:
    return torch.randint(-128, 128, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int8)


CASES = {
    "int8_linear": lambda: (codes(5, 3, 40), some_layer(), 24),
    "int8_linear_float": lambda: (codes(7, 40), some_layer(), 24),
    "int8_dynamic_linear": lambda: (torch.randn(2, 1, 40), some_layer(), 24),
    "int8_tile_sparse_linear": lambda: (codes(5, 3, 40), some_layer(pack=pack_tile_sparse), 24),
    "int8_plan": lambda: (torch.rand(9, 4, 10), pack_plan([some_layer(), some_layer(24, 3)], 0.01, 3), 3),
}


def both(name: str):
    return getattr(torch.ops.qtoolkit, name).default, getattr(torch.ops.qtoolkit, f"_{name}").default


@pytest.mark.parametrize("name", CASES)
def test_direct_and_twin_give_the_same_bits(name):
    direct, twin = both(name)
    x, layer, outputs = CASES[name]()
    for given in (x, x[:0], x[:1], x.transpose(0, 0), x.repeat_interleave(2, 0)[::2]):
        one, other = direct(given, layer, outputs), twin(given, layer, outputs)
        assert one.dtype == other.dtype and one.shape == other.shape and one.stride() == other.stride() and torch.equal(one, other)


@pytest.mark.parametrize("name", ["int8_dynamic_linear", "int8_plan"])
def test_other_dtypes_and_strides_take_the_way_round(name):
    direct, twin = both(name)
    x, layer, outputs = CASES[name]()
    for given in (x.double(), x.half(), torch.stack([x, x], -1)[..., 0]):
        assert torch.equal(direct(given, layer, outputs), twin(given, layer, outputs))


@pytest.mark.parametrize("name", CASES)
def test_errors_have_the_type_and_the_words_of_the_twin(name):
    direct, twin = both(name)
    x, layer, outputs = CASES[name]()
    wrong = [(x, layer, outputs + 1), (x, layer, 0), (x[..., :-1], layer, outputs), (x, layer[:-4], outputs), (x, layer.float(), outputs),
             (x.long(), layer, outputs)]
    if x.is_floating_point():
        wrong.append((torch.full_like(x, float("nan")), layer, outputs))
    for arguments in wrong:
        with pytest.raises(ValueError) as asked:
            direct(*arguments)
        with pytest.raises(ValueError) as expected:
            twin(*arguments)
        assert str(asked.value) == str(expected.value) and "\n" not in str(asked.value)


def test_only_known_operators_are_bound():
    assert not bind("no_such_operator")


def test_nothing_leaks():
    """A lost result of 96 kB in each of 20,000 calls, plain or refused, would be 2 GB."""
    x, layer = torch.zeros(1000, 40, dtype=torch.int8), some_layer()
    for _ in range(100):
        ops.int8_linear_float(x, layer, 24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in range(20_000):
        if call % 20:
            ops.int8_linear_float(x, layer, 24)
        else:
            with pytest.raises(ValueError):
                ops.int8_linear_float(x, layer, 25)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
