"""Granularities and schemes: rows and back, code ranges, and what each granularity costs and buys."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st

from qtoolkit.quantizers import Affine, ChannelGroups, PerChannel, PerGroup, PerTensor, PerToken, Scheme
from qtoolkit.quantizers.scheme import granularity_from_dict, granularity_to_dict, scheme_from_dict, scheme_to_dict

LADDER = [PerTensor(), ChannelGroups(4), PerChannel(), PerGroup(8)]


def spread_weight(seed=0):
    """A weight whose 16 output channels have very different sizes, and whose columns differ too."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.exp(torch.linspace(-2, 2, 16))[:, None]
    columns = torch.exp(torch.randn(1, 64, generator=g))
    return rows * columns * torch.randn(16, 64, generator=g)


def brute_force_blocks(granularity, x):
    """The blocks by their definition: which index along the axis, which group of it."""
    if isinstance(granularity, PerTensor):
        return [x.flatten().tolist()]
    if isinstance(granularity, PerToken):
        return [x[index].tolist() for index in itertools.product(*map(range, x.shape[:-1]))]
    axis = granularity.axis % x.dim()
    if isinstance(granularity, PerChannel):
        return [x.select(axis, i).flatten().tolist() for i in range(x.shape[axis])]
    if isinstance(granularity, ChannelGroups):
        return [part.movedim(axis, 0).flatten().tolist() for part in x.chunk(granularity.groups, axis)]
    others = itertools.product(*(range(n) for i, n in enumerate(x.shape) if i != axis))
    lines = [x.movedim(axis, -1)[index].tolist() for index in others]
    return [line[i: i + granularity.size] for line in lines for i in range(0, len(line), granularity.size)]


@pytest.mark.parametrize("shape", [(12,), (4, 6), (4, 6, 2), (2, 6, 4, 4)])
@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0), PerChannel(-1), PerChannel(1), ChannelGroups(2, 0),
                                         ChannelGroups(2, -1), PerGroup(2), PerGroup(2, 0), PerGroup(2, 1), PerToken()], ids=str)
def test_blocks_are_the_definition_and_unblock_undoes_them(granularity, shape):
    if getattr(granularity, "axis", 0) >= len(shape):
        with pytest.raises(ValueError, match="has no axis"):
            granularity.blocks(torch.zeros(shape))
        return
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    rows = granularity.blocks(x)
    assert rows.tolist() == brute_force_blocks(granularity, x)
    assert torch.equal(granularity.unblock(rows, x.shape), x)
    strided = torch.stack([x, -x], dim=-1)[..., 0]
    assert not strided.is_contiguous()
    assert torch.equal(granularity.blocks(strided), rows)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_unblock_undoes_blocks_for_every_shape(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    length = shape[axis]
    divisor = data.draw(st.sampled_from([d for d in range(1, length + 1) if length % d == 0]))
    x = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    for granularity in (PerTensor(), PerChannel(axis), ChannelGroups(divisor, axis), PerGroup(divisor, axis), PerToken()):
        assert torch.equal(granularity.unblock(granularity.blocks(x), x.shape), x)


@pytest.mark.parametrize("bits", range(1, 17))
def test_code_ranges(bits):
    n = 2 ** (bits - 1)
    assert (Scheme(bits).qmin, Scheme(bits).qmax) == (-n, n - 1)
    assert (Scheme(bits, signed=False).qmin, Scheme(bits, signed=False).qmax) == (0, 2 * n - 1)
    if bits > 1:
        assert Scheme(bits, narrow_range=True).qmin == -(n - 1)
    for scheme in (Scheme(bits), Scheme(bits, signed=False)):
        info = torch.iinfo(scheme.code_dtype)
        assert info.min <= scheme.qmin and scheme.qmax <= info.max
    assert Scheme(8).code_dtype == torch.int8 and Scheme(8, signed=False).code_dtype == torch.uint8


@pytest.mark.parametrize("granularity", LADDER + [PerToken(), PerGroup(4, 1), ChannelGroups(2, axis=1)], ids=str)
def test_a_scheme_survives_its_plain_description(granularity):
    scheme = Scheme(5, symmetric=False, signed=False, granularity=granularity)
    assert granularity_from_dict(granularity_to_dict(granularity)) == granularity
    assert scheme_from_dict(scheme_to_dict(scheme)) == scheme


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_the_error_falls_down_the_ladder_of_granularities(bits):
    w = spread_weight()
    errors = [(Affine.fit(w, Scheme(bits, granularity=g)).fake(w) - w).square().mean() for g in LADDER]
    assert errors == sorted(errors, reverse=True)
    assert all(coarse > 1.05 * fine for coarse, fine in itertools.pairwise(errors))


@pytest.mark.parametrize("granularity,block", [*zip(LADDER, [16 * 64, 4 * 64, 64, 8])], ids=str)
def test_overhead_is_32_bits_a_block(granularity, block):
    w = spread_weight()
    q = Affine.fit(w, Scheme(4, granularity=granularity)).encode(w)
    assert q.bits_per_weight == 4 + 32 / block
    asymmetric = Affine.fit(w, Scheme(4, symmetric=False, granularity=granularity)).encode(w)
    assert asymmetric.nbytes == q.nbytes + (4 * w.numel() // block + 7) // 8


@given(seed=st.integers(0, 1000), exponents=st.lists(st.integers(-20, 20), min_size=16, max_size=16))
def test_channel_codes_do_not_change_when_channels_are_rescaled(seed, exponents):
    w = spread_weight(seed)
    factors = 2.0 ** torch.tensor(exponents)[:, None]
    scheme = Scheme(4, granularity=PerChannel())
    assert torch.equal(Affine.fit(w, scheme).encode(w).codes, Affine.fit(w * factors, scheme).encode(w * factors).codes)


def test_every_block_is_quantized_as_if_it_were_alone():
    w = spread_weight()
    for granularity in LADDER:
        scheme = Scheme(3, symmetric=False, granularity=granularity)
        together = granularity.blocks(Affine.fit(w, scheme).fake(w))
        alone = [Affine.fit(row, replace(scheme, granularity=PerTensor())).fake(row) for row in granularity.blocks(w)]
        assert torch.equal(together, torch.stack(alone))
