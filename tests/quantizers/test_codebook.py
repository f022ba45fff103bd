"""Code books: the definition by bucketize and by brute force, levels against published numbers, a file and back."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import integrate, stats

from qtoolkit.quantizers import (MSE, Affine, APoT, BinaryCodes, Codebook, KMeans, LloydMax, NormalFloat, PerChannel, PerGroup, PowerOfTwo,
                                 QTensor, Scheme, largest, least_squares, midpoints, refit_scales, residual_scales, sign_sums)
from qtoolkit.quantizers.levels import normal_cells

CHOOSERS = [PowerOfTwo(3), APoT(4), NormalFloat(4), LloydMax(3), BinaryCodes(2), KMeans(5)]


def name(choose):
    return type(choose).__name__


def gaussian(n=100_000, seed=0):
    return torch.randn(1, n, generator=torch.Generator().manual_seed(seed))


def mse(x, quantizer):
    return (quantizer.fake(x) - x).square().mean().item()


@given(levels=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20, unique=True).map(sorted),
       values=st.lists(st.floats(-150, 150, width=32), min_size=1, max_size=40))
def test_every_value_takes_its_nearest_level(levels, values):
    x, quantizer = torch.tensor(values), Codebook(torch.tensor(levels))
    distance = (x.double()[:, None] - torch.tensor(levels).double()).abs()
    error = (quantizer.fake(x).double() - x.double()).abs()
    assert torch.equal(error, distance.amin(1))
    assert torch.equal(quantizer.encode(x).codes.long(), torch.bucketize(x, midpoints(torch.tensor(levels)), right=True))


def test_boundaries_need_not_be_midpoints():
    quantizer = Codebook(torch.tensor([0.0, 10.0]), boundaries=torch.tensor([1.0]))
    assert quantizer.fake(torch.tensor([0.9, 1.0, 3.0])).tolist() == [0, 10, 10]  # X_i for x in [D_i, D_(i+1))


@pytest.mark.parametrize("choose", CHOOSERS, ids=name)
@pytest.mark.parametrize("granularity", [None, PerChannel(), PerGroup(8)], ids=str)
def test_a_state_gives_the_same_tensor_back(choose, granularity):
    x = gaussian(96).reshape(6, 16)
    q = Codebook.fit(x, choose, granularity).encode(x)
    tensors, metadata = q.state("w.")
    loaded = QTensor.from_state(tensors, metadata, "w.")
    assert torch.equal(loaded.codes, q.codes) and torch.equal(loaded.dequantize(), q.dequantize())
    assert q.nbytes == sum(t.numel() * t.element_size() for t in tensors.values())


@pytest.mark.parametrize("choose", CHOOSERS, ids=name)
def test_rows_are_quantized_as_if_alone_and_views_like_copies(choose):
    x = gaussian(96).reshape(6, 16) * torch.logspace(-3, 3, 6)[:, None]
    together = Codebook.fit(x, choose, PerChannel()).fake(x)
    alone = torch.stack([Codebook.fit(row, choose).fake(row) for row in x])
    assert torch.allclose(together, alone, rtol=1e-6)
    assert torch.equal(Codebook.fit(x.T, choose, PerChannel(1)).fake(x.T), together.T)


@pytest.mark.parametrize("choose", CHOOSERS, ids=name)
def test_zeros_and_extremes_stay_finite(choose):
    for x in (torch.zeros(8), torch.full((8,), 1e30), torch.full((8,), 1e-40), torch.tensor([0.0, 1e-30, 1e30])):
        assert Codebook.fit(x, choose).fake(x).isfinite().all()
    if not isinstance(choose, PowerOfTwo):
        assert Codebook.fit(torch.zeros(8), choose).fake(torch.zeros(8)).abs().max() < 2


def test_overhead_of_a_code_book_is_counted():
    x = gaussian(4096).reshape(64, 64)
    assert Codebook.fit(x, KMeans(16)).encode(x).nbytes == 4096 // 2 + 16 * 4
    assert Codebook.fit(x, KMeans(16), PerChannel()).encode(x).nbytes == 4096 // 2 + 64 * 16 * 4
    assert Codebook.fit(x, NormalFloat(4), PerGroup(64)).encode(x).nbytes == 4096 // 2 + 16 * 4 + 64 * 4


def test_han_s_four_by_four_example_is_3_2_times_smaller():
    """16 weights of 32 bits become 16 codes of 2 bits and 4 levels of 32 bits: r = nb / (n log2 k + kb) = 512 / 160."""
    x = gaussian(16).reshape(4, 4)
    assert 16 * 4 / Codebook.fit(x, KMeans(4)).encode(x).nbytes == 3.2


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_power_of_two_is_off_by_at_most_the_square_root_of_two(bits):
    x = gaussian()
    quantizer = Codebook.fit(x, PowerOfTwo(bits, largest))
    smallest = x.abs().max() * 2.0 ** -(2 ** (bits - 1) - 0.5)
    inside = x.abs() > smallest * 1.0001
    ratio = (quantizer.fake(x) / x)[inside]
    assert ratio.min() >= 2**-0.5 - 1e-5 and ratio.max() <= 2**0.5 + 1e-5


@given(bits=st.integers(2, 5), values=st.lists(st.floats(-4, 4, width=32).filter(lambda v: abs(v) > 1e-6), min_size=1, max_size=30))
def test_power_of_two_is_its_formula(bits, values):
    x = torch.tensor([values])
    quantizer = Codebook.fit(x, PowerOfTwo(bits, largest))
    scale = x.abs().max().item()
    for value, ours in zip(values, quantizer.fake(x)[0].tolist()):
        exact = math.log2(abs(value) / scale)
        if abs(exact - math.floor(exact) - 0.5) > 1e-5:
            exponent = min(max(round(exact), -(2 ** (bits - 1) - 1)), 0)
            assert ours == pytest.approx(math.copysign(scale * 2.0**exponent, value), rel=1e-5)


def test_power_of_two_has_rigid_resolution():
    """Published for nearest-level boundaries: 0.0373 at 4 and at 5 bits, while uniform goes from 0.0133 to 0.0039."""
    x = gaussian(40_000)

    def nearest(bits):
        table = PowerOfTwo(bits).table()[None]
        return mse(x, Codebook(table, least_squares(x, table, midpoints(table))))

    def uniform(bits):
        scheme = Scheme(bits, narrow_range=True)
        return mse(x, Affine.fit(x, scheme, MSE(scheme)))

    assert nearest(4) == pytest.approx(0.0373, rel=0.03) and nearest(5) == pytest.approx(nearest(4), rel=0.01)
    assert mse(x, Codebook.fit(x, PowerOfTwo(5))) == pytest.approx(mse(x, Codebook.fit(x, PowerOfTwo(4))), rel=0.01)
    assert uniform(4) == pytest.approx(0.0133, rel=0.05) and uniform(5) == pytest.approx(0.0039, rel=0.06)


def test_apot_levels_are_the_published_ones():
    """k = 2: 4^n magnitudes. The authors' code lists the sets for 3 and 5 bits of magnitude."""
    assert [len(APoT(2 * n + 1).magnitudes()) for n in (1, 2, 3)] == [4, 16, 64]
    assert APoT(4).terms() == [[0, 2**-1, 2**-2, 2**-4], [0, 2**-3]]
    assert APoT(6).terms() == [[0, 2**-1, 2**-3, 2**-6], [0, 2**-2, 2**-4, 2**-7], [0, 2**-5]]
    assert APoT(5).terms() == [[0, 2**-1, 2**-3, 2**-5], [0, 2**-2, 2**-4, 2**-6]]


def test_apot_beats_uniform_at_four_bits_and_loses_at_five():
    x = gaussian(40_000)
    four, five = (mse(x, Codebook.fit(x, APoT(bits))) for bits in (4, 5))
    assert four == pytest.approx(0.01237, rel=0.03) and five == pytest.approx(0.0060, rel=0.02)
    uniform = [mse(x, Affine.fit(x, Scheme(b, narrow_range=True), MSE(Scheme(b, narrow_range=True)))) for b in (4, 5)]
    assert four < uniform[0] and five > uniform[1]


def test_normal_float_of_four_bits_is_nf4():
    published = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                 -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
    assert torch.allclose(NormalFloat(4).table(), torch.tensor(published), atol=1e-6)


@pytest.mark.parametrize("bits", range(2, 9))
def test_normal_float_has_all_its_levels_and_an_exact_zero(bits):
    table = NormalFloat(bits).table()
    assert len(table) == 2**bits and (table.diff() > 0).all() and 0 in table and table[-1] == 1 and table[0] == -1


@pytest.mark.parametrize("bits,distortion", [(1, 0.3634), (2, 0.1175), (3, 0.0345), (4, 0.0095)])
def test_lloyd_max_distortion_of_a_normal_signal(bits, distortion):
    chooser = LloydMax(bits)
    assert chooser.distortion() == pytest.approx(distortion, abs=5e-5)
    levels = chooser.table().double().numpy()
    edges = [-np.inf, *(levels[1:] + levels[:-1]) / 2, np.inf]
    by_integration = sum(integrate.quad(lambda t: (t - c) ** 2 * stats.norm.pdf(t), a, b)[0] for a, b, c in zip(edges, edges[1:], levels))
    assert chooser.distortion() == pytest.approx(by_integration, rel=1e-6)
    x = gaussian(400_000)
    assert mse(x, Codebook.fit(x, chooser)) == pytest.approx(distortion, rel=0.02)
    assert mse(x, Codebook.fit(x, KMeans(2**bits))) <= mse(x, Codebook.fit(x, chooser)) * 1.005


@pytest.mark.parametrize("bits", range(1, 7))
def test_lloyd_max_levels_are_means_of_their_cells(bits):
    levels = LloydMax(bits).table().double()
    mass, moment = normal_cells(levels)
    assert torch.allclose(moment / mass, levels, atol=1e-6)
    edges = torch.cat([torch.tensor([-torch.inf]), (levels[1:] + levels[:-1]) / 2, torch.tensor([torch.inf])]).numpy()
    assert mass.numpy() == pytest.approx(np.diff(stats.norm.cdf(edges)), abs=1e-12)


def test_binary_codes_reach_the_published_error_and_respect_its_bound():
    x = gaussian(200_000)
    two = mse(x, Codebook.fit(x, BinaryCodes(2)))
    assert two == pytest.approx(0.1175, rel=0.05) and two >= 0.1175 * 0.995
    residual_only = [mse(x, Codebook(sign_sums(residual_scales(x, k)).sort(1).values)) for k in (1, 2, 3, 4)]
    assert residual_only[0] == pytest.approx(0.3634, rel=0.02) and residual_only == sorted(residual_only, reverse=True)


@given(seed=st.integers(0, 500), bits=st.integers(1, 4), heavy=st.booleans())
def test_alternation_never_raises_the_error(seed, bits, heavy):
    x = gaussian(300, seed).double()
    x = x**3 if heavy else x
    a, errors = residual_scales(x, bits), []
    for _ in range(6):
        errors.append(mse(x, Codebook(sign_sums(a).sort(1).values)))
        a = refit_scales(x, a)
    assert all(after <= before * (1 + 1e-9) for before, after in zip(errors, errors[1:]))


@given(a=st.lists(st.floats(0, 10), min_size=1, max_size=4))
def test_sign_sums_are_all_the_sums(a):
    from itertools import product
    expected = sorted(sum(s * v for s, v in zip(signs, a)) for signs in product((-1, 1), repeat=len(a)))
    assert sorted(sign_sums(torch.tensor([a], dtype=torch.float64))[0].tolist()) == pytest.approx(expected)


@pytest.mark.parametrize("table", [PowerOfTwo(4).table(), NormalFloat(3).table()])
def test_least_squares_width_is_near_the_best_of_a_fine_scan(table):
    x, table = gaussian(20_000), table[None]
    boundaries = midpoints(table)
    best = min(mse(x, Codebook(table, torch.tensor(s), boundaries)) for s in np.linspace(0.1, 5, 500).tolist())
    assert mse(x, Codebook(table, least_squares(x, table, boundaries), boundaries)) <= best * 1.003
