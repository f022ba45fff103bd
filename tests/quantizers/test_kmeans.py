"""One-dimensional k-means against scikit-learn, against the exact optimum of kmeans1d, and against its own laws."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from qtoolkit.quantizers import Codebook, ForgyInit, KMeans, OptimalKMeans, density_init, kmeans, linear_init, optimal_kmeans

INITS = [linear_init, density_init, ForgyInit(0), ForgyInit(7)]
ROWS = st.lists(st.floats(-100, 100, width=32), min_size=8, max_size=60)


def gaussian(n, seed=0):
    return torch.randn(1, n, generator=torch.Generator().manual_seed(seed))


def error(x, centroids, h=None):
    squared = (x.double()[:, None] - centroids.double()).square().amin(1)
    return (squared if h is None else h.double() * squared).sum().item()


@pytest.mark.parametrize("k", [2, 4, 16])
@pytest.mark.parametrize("init", INITS, ids=["linear", "density", "forgy 0", "forgy 7"])
def test_equals_scikit_learn_from_the_same_start(k, init):
    cluster = pytest.importorskip("sklearn.cluster")
    x = torch.erf(gaussian(3000).double())  # bounded, so that no cluster is ever empty: scikit-learn would move it elsewhere
    start = init(x.sort(1).values, k)[0].numpy()[:, None]
    theirs = cluster.KMeans(k, init=start, n_init=1, max_iter=10_000, tol=0).fit(x[0].numpy()[:, None])
    ours = kmeans(x, k, init, steps=10_000)
    assert ours.centroids[0].numpy() == pytest.approx(np.sort(theirs.cluster_centers_[:, 0]), abs=1e-7)
    assert ours.errors[-1].item() == pytest.approx(theirs.inertia_, rel=1e-9)


@given(values=ROWS, k=st.integers(1, 8), init=st.sampled_from(INITS))
def test_the_error_never_rises_and_is_the_error_of_the_centroids(values, k, init):
    x = torch.tensor([values], dtype=torch.float64)
    result = kmeans(x, k, init)
    scale = x.square().sum().item() + 1e-9
    assert (result.errors.diff(dim=0) <= 1e-12 * scale).all()
    assert result.errors[-1].item() == pytest.approx(error(x[0], result.centroids[0]), abs=1e-11 * scale)
    assert (result.centroids.diff(dim=1) >= 0).all()


@given(values=ROWS, k=st.integers(1, 8), weighted=st.booleans(), seed=st.integers(0, 99))
def test_exact_optimum_is_never_worse_and_equals_kmeans1d(values, k, weighted, seed):
    oracle = pytest.importorskip("kmeans1d")
    x = torch.tensor([values], dtype=torch.float64)
    h = torch.randint(1, 6, x.shape, generator=torch.Generator().manual_seed(seed)).double() if weighted else None
    best = optimal_kmeans(x, k, h)
    repeated = x[0] if h is None else x[0].repeat_interleave(h[0].long())
    theirs = oracle.cluster(repeated.tolist(), k)
    scale = repeated.square().sum().item() + 1e-9
    assert error(x[0], best.centroids[0], None if h is None else h[0]) == pytest.approx(
        error(repeated, torch.tensor(theirs.centroids)), abs=1e-10 * scale)
    assert best.errors.item() == pytest.approx(error(x[0], best.centroids[0], None if h is None else h[0]), abs=1e-10 * scale)
    for init in INITS[:3]:
        assert best.errors.item() <= kmeans(x, k, init, h).errors[-1].item() + 1e-10 * scale


def test_published_errors_of_sixteen_levels():
    """Optimal 0.00951 on a normal signal; Lloyd from a linear start 0.01066, from random ones 0.0101 to 0.0106: local optima."""
    x = gaussian(20_000, seed=1)
    best = optimal_kmeans(x, 16).errors.item() / 20_000
    assert best == pytest.approx(0.00951, rel=0.03)
    for init in INITS:
        assert best < kmeans(x, 16, init).errors[-1].item() / 20_000 <= 1.25 * best


@pytest.mark.parametrize("k", [1, 4, 16])
def test_density_start_is_quantiles_and_linear_start_is_even(k):
    x = gaussian(103).double().sort(1).values
    quantiles = np.quantile(x[0].numpy(), (np.arange(k) + 0.5) / k, method="inverted_cdf")
    assert density_init(x, k)[0].tolist() == quantiles.tolist()
    assert linear_init(x, k)[0].tolist() == pytest.approx(np.linspace(x.min().item(), x.max().item(), k).tolist())


def test_linear_start_keeps_the_extremes_longest():
    x = torch.cat([gaussian(5000), torch.tensor([[8.0]])], dim=1)
    ends = {init: kmeans(x, 16, init, steps=3).centroids[0, -1].item() for init in (linear_init, density_init)}
    assert ends[linear_init] > 7 > ends[density_init]


@given(values=ROWS, k=st.integers(1, 6), constant=st.floats(0.1, 100))
def test_constant_weights_are_plain_kmeans(values, k, constant):
    x = torch.tensor([values], dtype=torch.float64)
    plain, weighted = kmeans(x, k, steps=5), kmeans(x, k, weights=torch.full_like(x, constant), steps=5)
    assert torch.allclose(plain.centroids, weighted.centroids, atol=1e-6)


def test_hessian_weights_lower_the_weighted_cost():
    x = gaussian(5000)
    h = torch.rand(1, 5000, generator=torch.Generator().manual_seed(1)) ** 4 * (x.abs() > 1)
    plain, weighted = optimal_kmeans(x, 8), optimal_kmeans(x, 8, h)
    assert error(x[0], weighted.centroids[0], h[0]) < 0.9 * error(x[0], plain.centroids[0], h[0])
    lloyd = kmeans(x, 8, lambda rows, k: plain.centroids.double(), h)
    assert error(x[0], lloyd.centroids[0], h[0]) < error(x[0], plain.centroids[0], h[0])
    cell = (x[0][:, None] - lloyd.centroids[0]).abs().argmin(1)
    for j in range(8):
        if h[0][cell == j].sum() > 0:
            mean = (h[0] * x[0])[cell == j].sum() / h[0][cell == j].sum()
            assert lloyd.centroids[0, j].item() == pytest.approx(mean.item(), abs=1e-4)


def test_repetition_is_weight():
    x = torch.tensor([[0.0, 1.0, 5.0, 6.0, 20.0]])
    h = torch.tensor([[3.0, 1.0, 2.0, 1.0, 4.0]])
    repeated = x[0].repeat_interleave(h[0].long())[None]
    assert torch.allclose(kmeans(x, 3, weights=h).centroids, kmeans(repeated, 3).centroids)


def test_rows_are_independent():
    x = torch.cat([gaussian(500), 100 + gaussian(500, 1), gaussian(500, 2) ** 3])
    together = kmeans(x, 8)
    for row, centroids in zip(x, together.centroids):
        assert torch.allclose(kmeans(row[None], 8).centroids[0], centroids)
    assert torch.equal(optimal_kmeans(x, 4).centroids[1], optimal_kmeans(x[1:2], 4).centroids[0])


@pytest.mark.parametrize("x", [torch.zeros(1, 5), torch.full((1, 5), 3.5), torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([[7.0]])])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_fewer_different_values_than_centroids_are_exact(x, k):
    if len(x.unique()) <= k:
        for choose in (KMeans(k, density_init), KMeans(k), OptimalKMeans(k)):
            assert torch.equal(Codebook.fit(x, choose).fake(x), x) or isinstance(choose, KMeans) and k < 4
        assert torch.equal(Codebook.fit(x, OptimalKMeans(k)).fake(x), x)


def test_assignment_is_exact_where_float32_midpoints_are_not():
    below, above = torch.tensor([1.0]), torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0]))
    quantizer = Codebook(torch.cat([below, above]))
    assert torch.equal(quantizer.fake(torch.cat([below, above])), torch.cat([below, above]))


def test_forgy_is_reproducible_and_draws_values():
    x = gaussian(100).sort(1).values
    assert torch.equal(ForgyInit(3)(x, 8), ForgyInit(3)(x, 8))
    assert not torch.equal(ForgyInit(3)(x, 8), ForgyInit(4)(x, 8))
    assert torch.isin(ForgyInit(3)(x, 8), x.double()).all() and ForgyInit(3)(x, 8).unique().numel() == 8


def test_memory_beside_the_data_does_not_grow_with_k():
    """Largest tensor created during the run: prefix sums of n + 1 values, not n x k."""
    largest = [0]

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest[0] = max(largest[0], out.numel())
            return out

    x = gaussian(5_000)
    with Watch():
        kmeans(x, 256, steps=3)
    assert largest[0] <= 5_001
