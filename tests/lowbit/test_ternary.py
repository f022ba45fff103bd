"""Ternary levels: the paper's rule by hand, the best one by brute force, and the constants of three distributions."""

import pytest
import torch

from qtoolkit.lowbit import Ternary, trained_ternary
from qtoolkit.quantizers import Codebook, KMeans, PerChannel


def _error(x: torch.Tensor, chooser: Ternary) -> float:
    return (Codebook.fit(x, chooser, PerChannel()).fake(x) - x).square().sum().item()


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.2])
def test_zeros_and_size_are_those_of_the_rule(factor):
    w = torch.randn(6, 200, generator=torch.Generator().manual_seed(0))
    ours = Codebook.fit(w, Ternary(factor), PerChannel()).fake(w)
    for row, found in zip(w, ours):
        kept = row.abs() > factor * row.abs().mean()
        torch.testing.assert_close(found, kept * row.sign() * row.abs()[kept].mean())


def test_a_weight_at_the_threshold_is_zero():
    w = torch.tensor([[1.0, -1.0, 3.0, -3.0]])  # mean |w| = 2
    assert Codebook.fit(w, Ternary(0.5), PerChannel()).fake(w).tolist() == [[0, 0, 3, -3]]


def test_for_its_zeros_no_other_size_is_better():
    w, sizes = torch.randn(1, 300, generator=torch.Generator().manual_seed(1)), torch.linspace(0.1, 4, 4000)
    quantizer = Codebook.fit(w, Ternary(), PerChannel())
    pattern = quantizer.fake(w).sign()
    errors = (w - sizes[:, None] * pattern).square().sum(1)
    assert quantizer.levels.max().item() == pytest.approx(sizes[errors.argmin()].item(), abs=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best_of_all(seed):
    w = torch.randn(1, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    patterns = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)] * 9)[1:]
    patterns = patterns[patterns.abs().sum(1) > 0]
    sizes = (patterns @ w[0]) / patterns.abs().sum(1)
    best = (w - sizes[:, None] * patterns).square().sum(1).min().item()
    assert _error(w, Ternary(None)) == pytest.approx(best)
    assert _error(w, Ternary()) >= best - 1e-12


@pytest.mark.parametrize("name, ratio, excess", [("uniform", 0.667, 0.004), ("gauss", 0.765, 0.007), ("laplace", 1.0, 0.07)])
def test_the_best_thresholds_of_three_distributions_and_what_the_papers_costs(name, ratio, excess):
    """D / mean |w| and how much more error 0.7 makes (TWN recommends it for all)."""
    dice = torch.Generator().manual_seed(0)
    u = torch.rand(1, 1_000_000, generator=dice, dtype=torch.float64) * 2 - 1
    w = {"uniform": u, "gauss": torch.randn(1, 1_000_000, generator=dice, dtype=torch.float64), "laplace": -u.sign() * torch.log1p(-u.abs())}[name]
    threshold = Codebook.fit(w, Ternary(None), PerChannel()).levels.max() / 2
    assert (threshold / w.abs().mean()).item() == pytest.approx(ratio, abs=0.02)
    assert _error(w, Ternary()) / _error(w, Ternary(None)) - 1 == pytest.approx(excess, abs=0.004)


def test_it_is_two_bits_and_close_to_three_free_levels():
    w = torch.randn(8, 500, generator=torch.Generator().manual_seed(2))
    q = Codebook.fit(w, Ternary(), PerChannel()).encode(w)
    assert q.quantizer.bits == 2 and sorted(q.codes.unique().tolist()) == [0, 1, 2]
    assert _error(w, KMeans(3)) <= _error(w, Ternary(None)) <= 1.05 * _error(w, KMeans(3))


def test_a_block_of_zeros_stays_zero_and_a_wrong_factor_is_named():
    w = torch.zeros(2, 5)
    for factor in (0.7, None):
        assert torch.equal(Codebook.fit(w, Ternary(factor), PerChannel()).fake(w), w)
    with pytest.raises(ValueError, match="factor is -1"):
        Ternary(-1)


def test_trained_sizes_get_the_true_derivative_and_weights_the_papers():
    w = torch.randn(300, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    sizes = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.3, 0.6)]
    gradient, threshold = torch.randn(300, dtype=torch.float64), 0.3 * w.detach().abs().max()
    trained_ternary(w, *sizes, share=0.3).backward(gradient)
    for i, size in enumerate(sizes):  # by differences
        moved = [[s.detach() + sign * 1e-6 * (j == i) for j, s in enumerate(sizes)] for sign in (1, -1)]
        up, down = ((trained_ternary(w.detach(), *pair, share=0.3) * gradient).sum() for pair in moved)
        assert size.grad.item() == pytest.approx(((up - down) / 2e-6).item(), rel=1e-6)
    factor = torch.where(w > threshold, 1.3, torch.where(w < -threshold, 0.6, 1.0)).detach()
    torch.testing.assert_close(w.grad, factor * gradient)


def test_trained_sizes_end_at_the_means_of_what_they_stand_for():
    """Fitting fixed weights: each size is pulled to the mean of its side, which no common size can be."""
    w = torch.randn(2000, generator=torch.Generator().manual_seed(4))
    w = torch.where(w > 0, 2 * w, w)
    sizes = [torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)]
    optimizer = torch.optim.SGD(sizes, 1.0)
    for _ in range(300):
        optimizer.zero_grad()
        (trained_ternary(w, *sizes) - w).square().mean().backward()
        optimizer.step()
    threshold = 0.05 * w.abs().max()
    assert sizes[0].item() == pytest.approx(w[w > threshold].mean().item(), rel=1e-3)
    assert sizes[1].item() == pytest.approx(-w[w < -threshold].mean().item(), rel=1e-2)


def test_trained_sizes_that_do_not_fit_are_named():
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match="negative has the value -1"):
        trained_ternary(torch.ones(2), one, -one)
    with pytest.raises(ValueError, match="share is 1.5"):
        trained_ternary(torch.ones(2), one, one, share=1.5)
