"""The byte instructions in torch, against numpy written another way and against the compiled kernel."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from qtoolkit.kernels.instructions import packed_product, tdpbusd, three_step_dot, vpdpbusd, vpmaddubsw
from qtoolkit.kernels.layer import pack_layer, pack_weight
from qtoolkit.kernels.ops import int8_linear_float

UNSIGNED, SIGNED = st.integers(0, 255), st.integers(-128, 127)


def _bytes(u, s):
    return torch.tensor(u, dtype=torch.uint8), torch.tensor(s, dtype=torch.int8)


@given(st.lists(st.tuples(UNSIGNED, SIGNED), min_size=4, max_size=4), st.integers(-(2**31), 2**31 - 1))
def test_four_products_wrap_only_in_the_sum(pairs, start):
    u, s = _bytes(*zip(*pairs))
    whole = start + sum(a * b for a, b in pairs)
    got = vpdpbusd(torch.tensor([start], dtype=torch.int32), u, s)
    assert got.dtype is torch.int32 and got.item() == (whole + 2**31) % 2**32 - 2**31


@given(st.lists(st.tuples(UNSIGNED, SIGNED), min_size=4, max_size=4))
def test_pairs_saturate_at_16_bits(pairs):
    u, s = _bytes(*zip(*pairs))
    (a, b), (c, d) = [[x * y for x, y in pairs[i : i + 2]] for i in (0, 2)]
    expected = [int(np.clip(a + b, -32768, 32767)), int(np.clip(c + d, -32768, 32767))]
    assert vpmaddubsw(u, s).tolist() == expected
    assert three_step_dot(torch.tensor([7], dtype=torch.int32), u, s).item() == 7 + sum(expected)


def test_lanes_and_registers_do_not_mix():
    generator = torch.Generator().manual_seed(0)
    u = torch.randint(0, 256, (3, 5, 64), generator=generator, dtype=torch.uint8)
    s = torch.randint(-128, 128, (5, 64), generator=generator, dtype=torch.int8)
    sums = torch.randint(-99, 99, (3, 5, 16), generator=generator, dtype=torch.int32)
    expected = sums.numpy() + np.einsum("abjf,bjf->abj", u.numpy().reshape(3, 5, 16, 4).astype(np.int64), s.numpy().reshape(5, 16, 4).astype(np.int64))
    assert np.array_equal(vpdpbusd(sums, u, s).numpy(), expected)


@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (3, 7, 16), (2, 8, 17), (5, 30, 40)])
def test_the_walk_over_packed_bytes_is_the_kernels(m, k, n):
    generator = torch.Generator().manual_seed(m + k + n)
    x = torch.randint(-128, 128, (m, k), generator=generator, dtype=torch.int8)
    weight = torch.randint(-127, 128, (n, k), generator=generator, dtype=torch.int8)
    sums = packed_product(x, pack_weight(weight), n) - 128 * weight.sum(1, dtype=torch.int32)
    assert torch.equal(sums, x.int() @ weight.int().T)
    assert torch.equal(sums.float(), int8_linear_float(x, pack_layer(weight, scale=torch.tensor(1.0)), n))


@pytest.mark.parametrize("m,k", [(1, 4), (7, 60), (16, 64)])
def test_a_tile_is_the_product_of_its_rows(m, k):
    generator = torch.Generator().manual_seed(m + k)
    u = torch.randint(0, 256, (m, k), generator=generator, dtype=torch.uint8)
    weight = torch.randint(-127, 128, (16, k), generator=generator, dtype=torch.int8)
    sums = torch.randint(-99, 99, (m, 16), generator=generator, dtype=torch.int32)
    packed = pack_weight(weight).view(torch.int8).reshape(k // 4, 64)
    assert np.array_equal(tdpbusd(sums, u, packed).numpy(), sums.numpy() + u.numpy().astype(int) @ weight.numpy().astype(int).T)


def test_swapped_operands_are_refused():
    u, s = _bytes([1] * 4, [1] * 4)
    for call in (vpmaddubsw, lambda a, b: vpdpbusd(torch.zeros(1, dtype=torch.int32), a, b),
                 lambda a, b: tdpbusd(torch.zeros(1, 16, dtype=torch.int32), a[None], b.repeat(16)[None])):
        with pytest.raises(TypeError, match="uint8 first"):
            call(s, u)
