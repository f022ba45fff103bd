"""Ranges: observers and one-shot calibrations against torch, ONNX Runtime, scipy, order statistics and brute force."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import optimize, stats

from qtoolkit.quantizers import Affine, PerChannel, Scheme, choose_qparams, fake_quantize, min_max
from qtoolkit.quantizers.calibration import AciqGauss, AciqLaplace, Percentile
from qtoolkit.quantizers.clipping import KL, MSE, _divergences, kl_bins, kl_divergence
from qtoolkit.quantizers.histogram import Histogram
from qtoolkit.quantizers.observers import DynamicRange, HistogramObserver, MinMaxObserver, MovingAverageObserver, StaticRange
from qtoolkit.quantizers.scheme import PerToken

N = 100_000


def draw(kind, n=N, seed=0):
    rng = np.random.default_rng(seed)
    sample = {"laplace": rng.laplace(size=n), "gauss": rng.normal(size=n), "t3": rng.standard_t(3, size=n),
              "uniform": rng.uniform(-1, 1, size=n)}[kind]
    return torch.tensor(sample, dtype=torch.float32)[None]


@pytest.fixture(scope="module")
def torch_observers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch.ao.quantization")


@pytest.mark.parametrize("symmetric,signed", [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("ours,theirs", [(MinMaxObserver, "MinMaxObserver"), (MovingAverageObserver, "MovingAverageMinMaxObserver")])
def test_min_max_observers_equal_torch(torch_observers, ours, theirs, symmetric, signed):
    scheme, observer = Scheme(8, symmetric, signed), ours()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = getattr(torch_observers, theirs)(
            dtype=torch.qint8 if signed else torch.quint8, quant_min=scheme.qmin, quant_max=scheme.qmax,
            qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine)
        for seed in range(5):
            batch = torch.randn(30, generator=torch.Generator().manual_seed(seed)) * (seed + 1)
            observer.update(batch), reference(batch)
        scale, zero_point = reference.calculate_qparams()
    q = Affine.from_range(*observer.range(), scheme)
    assert torch.equal(q.scale.flatten(), scale) and torch.equal(q.zero_point.flatten().long(), zero_point.long())


@pytest.mark.parametrize("axis", [0, 1])
def test_per_channel_observer_equals_torch(torch_observers, axis):
    observer = MinMaxObserver(PerChannel(axis))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = torch_observers.PerChannelMinMaxObserver(ch_axis=axis, dtype=torch.quint8, qscheme=torch.per_channel_affine)
        for seed in range(3):
            batch = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
            observer.update(batch), reference(batch)
        scale, zero_point = reference.calculate_qparams()
    q = Affine.from_range(*observer.range(), Scheme(8, symmetric=False, signed=False))
    assert torch.equal(q.scale.flatten(), scale) and torch.equal(q.zero_point.flatten().long(), zero_point.long())


def test_one_outlier_a_hundred_times_larger_makes_the_step_a_hundred_times_larger():
    x = draw("gauss", 1000)
    spoiled = torch.cat([x, 100 * x.abs().max().reshape(1, 1)], dim=1)
    ratio = Affine.fit(spoiled, Scheme(8)).scale / Affine.fit(x, Scheme(8)).scale
    assert ratio.item() == pytest.approx(100, rel=1e-5)
    assert Percentile(99)(spoiled)[1] <= torch.sort(x).values[0, -4]


@given(values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60), percent=st.sampled_from([50, 75, 80, 90, 99, 99.9, 100]))
def test_percentile_is_an_order_statistic(values, percent):
    ordered, cut = sorted(values), int(len(values) * (100 - percent) / 200 + 1e-9)
    lo, hi = Percentile(percent)(torch.tensor([values]))
    assert (lo.item(), hi.item()) == (ordered[cut], ordered[len(values) - 1 - cut])


@settings(max_examples=15)
@given(values=st.lists(st.integers(-20, 20), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_weights_mean_repetition(values, seed):
    counts = torch.randint(1, 5, (1, len(values)), generator=torch.Generator().manual_seed(seed))
    rows = torch.tensor([values], dtype=torch.float64)
    repeated = rows[0].repeat_interleave(counts[0])[None]
    for calibration in (Percentile(60), AciqLaplace(4), AciqGauss(4), MSE(Scheme(3), steps=8), KL(3, bins=32)):
        assert torch.allclose(torch.cat(calibration(rows, counts.double())), torch.cat(calibration(repeated)), rtol=1e-9)


def ort_range(x, method, quantized_bins=128, percentile=99.9):
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    collector = calibrate.HistogramCollector(method, method == "percentile", 2048, quantized_bins, percentile, "same")
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({"x": x[0].numpy()})
        return [float(end) for end in collector.compute_collection_result()["x"][:2]]


@pytest.mark.parametrize("kind", ["laplace", "gauss", "t3"])
def test_percentile_is_within_a_bin_of_onnx_runtime(kind):
    x = draw(kind, 400_000)
    theirs = ort_range(x, "percentile")[1]
    assert abs(Percentile(99.9)(torch.cat([x, -x], 1))[1].item() - theirs) <= x.abs().max().item() / 2048


def test_published_onnx_runtime_kl_clips_come_out_of_onnx_runtime():
    """The numbers the book quotes, [V] of the specification, for 128 and 16 quantized bins."""
    for kind, levels, clip in [("laplace", 128, 10.3), ("gauss", 16, 3.98)]:
        assert ort_range(draw(kind, 400_000), "entropy", levels)[1] == pytest.approx(clip, rel=0.05)


@pytest.mark.parametrize("kind", ["laplace", "gauss", "t3"])
def test_kl_clips_heavy_tails_harder_the_fewer_the_codes(kind):
    x = draw(kind)
    clips = [KL(bits, bins=512)(x)[1].item() for bits in (2, 4, 7)] + [x.max().item()]
    assert clips == sorted(clips) and clips[1] < 0.9 * clips[3]
    assert kind == "gauss" or clips[2] < 0.95 * clips[3]


@pytest.mark.parametrize("kind,bits,levels", [("laplace", 7, 128), ("gauss", 4, 16)])
def test_kl_is_near_onnx_runtime_despite_the_differences_it_names(kind, bits, levels):
    x = draw(kind)
    assert KL(bits)(x)[1].item() == pytest.approx(ort_range(x, "entropy", levels)[1], rel=0.2)  # slow: ORT's loops are Python


@pytest.mark.parametrize("bits", [2, 4, 7])
def test_kl_keeps_all_of_a_uniform_signal(bits):
    x = draw("uniform")
    assert (torch.cat(KL(bits)(x)) == torch.cat(min_max(x))).all()


def test_kl_does_not_care_how_many_values_a_relu_set_to_zero():
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(4)).abs()
    few, many = (KL(bits=8)(torch.cat([x, torch.zeros(count)])[None])[1].item() for count in (10, 60_000))
    assert few == many and few > 0.7 * x.max()
    assert KL(bits=8)(torch.zeros(1, 100)) == (0, 0)


@pytest.mark.parametrize("levels", [1, 3, 16])
def test_running_sums_give_the_divergence_of_every_threshold(levels):
    """Two ways to one number: `kl_divergence` bin by bin, and all thresholds at once; with empty bins, empty codes and an empty tail."""
    draws = torch.Generator().manual_seed(levels)
    counts = torch.randint(0, 5, (60,), generator=draws).double() * (torch.rand(60, generator=draws) > 0.4)
    counts[45:] = 0
    for row in (counts, counts.flip(0), torch.eye(60, dtype=torch.float64)[40]):
        kept = torch.arange(levels, 61)
        expected = torch.tensor([kl_divergence(row[None], int(k), levels).item() for k in kept])
        assert torch.allclose(_divergences(row, kept, levels).float(), expected, atol=1e-6)


def test_kl_keeps_at_least_a_sixteenth_of_the_histogram_as_published():
    """With few codes a tiny T, hardly two bins to a code, would win. The plain-Python definition, searched from bin 1 and from bin 16 of 256."""
    draws = torch.Generator().manual_seed(0)
    x = torch.cat([0.004 * torch.randn(30_000, generator=draws).abs(), torch.rand(300, generator=draws)])[None]
    counts = torch.histc(x, 256, 0, 1)  # the library's own bins: the largest value is just below 1
    counts[0] = counts[1]
    everywhere, published = (kl_by_definition(counts.tolist(), 4, least) for least in (1, 16))
    assert everywhere < 16 <= published
    assert KL(bits=2, bins=256)(x)[1].item() == pytest.approx(min(published / 256, x.max().item()))


def test_a_sign_costs_kl_half_of_the_codes():
    x = draw("t3", 5000).abs()
    both = torch.cat([x, -x], dim=1)
    assert KL(5, bins=256)(both)[1] == KL(4, bins=256)(x)[1] != KL(5, bins=256)(x)[1]


def kl_by_definition(counts, levels, least=1):
    """The definition in plain Python, with scipy's divergence."""
    best = (np.inf, None)
    for kept in range(max(levels, least), len(counts) + 1):
        p = np.array(counts[:kept], float)
        q = np.zeros(kept)
        for level in range(levels):
            members = [j for j in range(kept) if j * levels // kept == level]
            nonempty = [j for j in members if p[j] + (sum(counts[kept:]) if j == kept - 1 else 0) > 0]
            for j in nonempty:
                q[j] = p[members].sum() / len(nonempty)
        p[-1] += sum(counts[kept:])
        divergence = stats.entropy(p, q) if q.sum() > 0 else np.inf
        if divergence < best[0] - 1e-12:
            best = (divergence, kept)
    return best[1]


@given(counts=st.lists(st.integers(0, 50), min_size=8, max_size=40), levels=st.integers(1, 8))
def test_kl_bins_is_the_definition(counts, levels):
    if sum(counts) == 0:
        counts[0] = 1
    ours, theirs = kl_bins(torch.tensor([counts], dtype=torch.float64), levels).item(), kl_by_definition(counts, levels)
    if ours != theirs:  # equal divergences up to rounding: compare the values instead
        from qtoolkit.quantizers.clipping import kl_divergence
        table = torch.tensor([counts], dtype=torch.float64)
        assert kl_divergence(table, ours, levels).item() == pytest.approx(kl_divergence(table, theirs, levels).item(), abs=1e-9)


@pytest.mark.parametrize("calibration,expected,one_sided", [
    (AciqLaplace, [2.83, 3.90, 5.03, 6.20, 7.41, 8.65, 9.90], 6.20), (AciqGauss, [1.71, 2.15, 2.56, 2.94, 3.29, 3.62, 3.92], 2.94)])
def test_aciq_constants(calibration, expected, one_sided):
    assert [round(calibration(bits).ratio(), 2) for bits in range(2, 9)] == expected
    assert round(calibration(4).ratio(one_sided=True), 2) == one_sided


@pytest.mark.parametrize("bits", range(1, 9))
def test_aciq_minimizes_its_own_formula(bits):
    def laplace(t):
        return 2 * np.exp(-t) + t**2 / (3 * 4**bits)

    def gauss(t):
        tail = 2 * ((t**2 + 1) * stats.norm.sf(t) - t * stats.norm.pdf(t))
        return tail + t**2 / (3 * 4**bits)

    for formula, calibration in [(laplace, AciqLaplace), (gauss, AciqGauss)]:
        best = optimize.minimize_scalar(formula, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-10}).x
        assert calibration(bits).ratio() == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("kind,calibration,unit", [("laplace", AciqLaplace, 1), ("gauss", AciqGauss, 1)])
@pytest.mark.parametrize("bits", [2, 4])
def test_aciq_estimates_the_width_from_the_sample(kind, calibration, unit, bits):
    x = draw(kind)
    lo, hi = calibration(bits)(3 * x + 0.5)
    assert hi.item() - 0.5 == pytest.approx(3 * calibration(bits).ratio(), rel=0.02)
    assert lo.item() - 0.5 == pytest.approx(-3 * calibration(bits).ratio(), rel=0.02)
    after_relu = calibration(bits)(x.relu())
    assert after_relu[0] == 0
    assert after_relu[1].item() == pytest.approx(min(calibration(bits).ratio(one_sided=True), x.max().item()), rel=0.02)


def test_mse_finds_the_published_laplace_clips():
    x = draw("laplace", 100_000)
    for bits, clip in [(2, 2.6), (3, 3.8), (4, 5.0), (6, 7.3), (8, 9.9)]:
        lo, hi = MSE(Scheme(bits))(x)
        assert torch.maximum(-lo, hi).item() == pytest.approx(clip, rel=0.05)


@pytest.mark.parametrize("scheme", [Scheme(2), Scheme(3, narrow_range=True), Scheme(4), Scheme(4, symmetric=False), Scheme(8, symmetric=False)], ids=str)
@pytest.mark.parametrize("kind", ["laplace", "gauss", "t3", "uniform"])
def test_mse_is_never_worse_than_min_max_nor_than_a_brute_force_grid(scheme, kind):
    x = draw(kind, 3000)
    x = x + 2 if not scheme.symmetric else x

    def error(lo, hi):
        scale, zero_point = choose_qparams(lo, hi, scheme)
        return (fake_quantize(x, scale, zero_point, scheme.qmin, scheme.qmax) - x).square().sum().item()

    lo, hi = min_max(x)
    ours = error(*MSE(scheme)(x))
    assert ours <= error(lo, hi) * (1 + 1e-6)
    assert ours <= min(error(f * lo, f * hi) for f in np.linspace(0.01, 1, 200)) * 1.02


def test_mse_shrinks_each_end_on_its_own_without_symmetry():
    x = draw("gauss", 20_000)
    x[0, 0] = 30.0
    lo, hi = MSE(Scheme(4, symmetric=False))(x)
    assert hi < 6 and lo < -2  # shrinking both ends by one factor would leave lo above -1


def test_every_row_is_calibrated_as_if_it_were_alone():
    rows = torch.cat([draw("laplace", 2000), 100 * draw("gauss", 2000), draw("t3", 2000).abs()])
    for calibration in (min_max, Percentile(95), AciqLaplace(4), AciqGauss(4), MSE(Scheme(4)), MSE(Scheme(3, symmetric=False))):
        together = torch.cat(calibration(rows), dim=1)
        alone = torch.cat([torch.cat(calibration(row[None]), dim=1) for row in rows])
        assert torch.allclose(together, alone)


@pytest.mark.parametrize("calibration", [Percentile(99), AciqLaplace(4), AciqGauss(4), MSE(Scheme(4)), MSE(Scheme(4, symmetric=False)), KL(4)], ids=str)
def test_streaming_agrees_with_all_at_once_within_bins(calibration):
    x = torch.cat([draw("laplace", 30_000), 50 * draw("gauss", 30_000)])
    observer = HistogramObserver(calibration, PerChannel(0))
    for batch in x.split([1, 10, 29_989], dim=1):
        observer.update(batch)
    streamed, direct = torch.cat(observer.range(), 1), torch.cat(calibration(x), 1)
    assert ((streamed - direct).abs() <= 0.02 * x.abs().amax(1, keepdim=True)).all()


@given(values=st.lists(st.floats(-50, 50) | st.floats(-1e30, 1e30), min_size=1, max_size=40), cut=st.integers(0, 40), seed=st.integers(0, 9))
def test_the_histogram_does_not_depend_on_batches_or_order(values, cut, seed):
    rows = torch.tensor([values], dtype=torch.float64)
    shuffled = rows[:, torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))]
    one, many = Histogram(8), Histogram(8)
    one.add(rows)
    for part in (shuffled[:, :cut], shuffled[:, cut:]):
        if part.numel():
            many.add(part)
    assert torch.equal(one.counts, many.counts) and torch.equal(one.top, many.top)
    assert torch.equal(one.lo, many.lo) and torch.equal(one.hi, many.hi)
    assert (torch.frexp(one.top).mantissa == 0.5).all()
    assert one.top > max(map(abs, values)) and (one.top == 2.0**-1022 or max(map(abs, values)) >= one.top / 2)
    assert one.counts.sum() == len(values)


@given(values=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60))
def test_the_histogram_equals_numpy(values):
    h = Histogram(16)
    h.add(torch.tensor([values], dtype=torch.float64))
    assert h.counts[0].tolist() == np.histogram(values, h.edges()[0].numpy())[0].tolist()
    assert h.edges()[0, 0] <= min(values) and max(values) < h.edges()[0, -1]


def test_a_first_batch_of_zeros_does_not_spoil_the_resolution():
    observer, x = HistogramObserver(Percentile(98)), 1e-6 * draw("gauss", 5000)
    observer.update(torch.zeros(10))
    observer.update(x)
    assert observer.range()[1].item() == pytest.approx(Percentile(98)(torch.cat([torch.zeros(1, 10), x], 1))[1].item(), rel=0.01)


def test_the_histogram_never_grows():
    h = Histogram(16)
    for k in range(-300, 300, 7):
        h.add(torch.tensor([[10.0**k, -(10.0**k)]], dtype=torch.float64))
    assert h.counts.shape == (1, 32) and h.counts.sum() == 2 * len(range(-300, 300, 7))


def test_eight_bit_histogram_observer_is_no_better_than_ours(torch_observers):
    x, scheme = draw("t3", 50_000), Scheme(8, symmetric=False, signed=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = torch_observers.HistogramObserver(dtype=torch.quint8)
        reference(x)
        scale, zero_point = reference.calculate_qparams()
    ours = Affine.fit(x, scheme, MSE(scheme)).fake(x)
    theirs = torch.fake_quantize_per_tensor_affine(x, scale.item(), int(zero_point), 0, 255)
    assert (ours - x).square().mean() <= (theirs - x).square().mean() * 1.001


@pytest.mark.parametrize("scheme", [Scheme(8), Scheme(4, symmetric=False)], ids=str)
def test_static_and_dynamic_agree_on_the_calibration_batch_and_part_on_a_louder_one(scheme):
    x = draw("gauss", 1000)
    static, dynamic = StaticRange.calibrate([x], scheme), DynamicRange(scheme)
    assert torch.equal(static(x), dynamic(x))
    assert static(4 * x).abs().max() <= x.abs().max() * 1.2
    assert dynamic(4 * x).abs().max() > 3.5 * x.abs().max()


def test_a_static_forward_touches_no_statistics(monkeypatch):
    static = StaticRange.calibrate([draw("gauss", 100)], Scheme(8))
    before = {name: t.clone() for name, t in static.state_dict().items()}
    for name in ("min_max", "choose_qparams"):
        monkeypatch.setattr(f"qtoolkit.quantizers.affine.{name}", None)
    static(draw("gauss", 100, seed=1) * 9)
    assert all(torch.equal(before[name], t) for name, t in static.state_dict().items())


def test_per_token_ranges_protect_the_other_tokens_from_an_outlier():
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0] = 1000.0
    per_tensor, per_token = DynamicRange(Scheme(8)), DynamicRange(Scheme(8, granularity=PerToken()))
    others = torch.ones(2, 5, dtype=torch.bool)
    others[0, 0] = False
    assert (per_token(x) - x)[others].abs().max() < 0.02
    assert (per_tensor(x) - x)[others].abs().max() > 0.5
    assert torch.equal(per_token(x)[1, 2], per_tensor(x[1, 2]))


@pytest.mark.parametrize("observer", [MinMaxObserver, MovingAverageObserver, HistogramObserver])
def test_an_observer_that_saw_nothing_says_so(observer):
    with pytest.raises(ValueError, match="no batch"):
        observer().range()


@pytest.mark.parametrize("observer", [MinMaxObserver, MovingAverageObserver, HistogramObserver])
def test_batches_with_other_channels_are_refused(observer):
    observer = observer(granularity=PerChannel(0))
    observer.update(torch.ones(3, 4))
    with pytest.raises(ValueError, match="same"):
        observer.update(torch.ones(4, 4))
