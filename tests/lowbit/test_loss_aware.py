"""Loss-aware signs and zeros: against every choice there is, and against the plain ones where all curvatures are equal."""

import pytest
import torch

from qtoolkit.lowbit import Ternary, loss_aware_signs, loss_aware_ternary, scaled_signs
from qtoolkit.quantizers import Codebook, PerChannel


def _case(seed: int, outputs: int = 1, inputs: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(outputs, inputs, generator=dice, dtype=torch.float64), torch.rand(outputs, inputs, generator=dice, dtype=torch.float64) ** 3 + 1e-3


def _best(weight: torch.Tensor, curvature: torch.Tensor, values: list[float]) -> float:
    """The smallest error of all patterns, each with its own best size."""
    patterns = torch.cartesian_prod(*[torch.tensor(values, dtype=torch.float64)] * weight.shape[1])
    patterns = patterns[patterns.abs().sum(1) > 0]
    sizes = (patterns * curvature * weight).sum(1) / (curvature * patterns**2).sum(1)
    return (curvature * (weight - sizes[:, None] * patterns) ** 2).sum(1).min().item()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("quantize, values", [(loss_aware_signs, [-1.0, 1.0]), (loss_aware_ternary, [-1.0, 0.0, 1.0])])
def test_no_pattern_and_no_size_lose_less(seed, quantize, values):
    weight, curvature = _case(seed)
    assert (curvature * (weight - quantize(weight, curvature)) ** 2).sum().item() == pytest.approx(_best(weight, curvature, values))


def test_equal_curvatures_give_the_plain_signs_and_the_plain_zeros():
    weight, same = _case(0, 5, 200)[0], torch.full((5, 200), 0.3, dtype=torch.float64)
    torch.testing.assert_close(loss_aware_signs(weight, same), scaled_signs(weight))
    torch.testing.assert_close(loss_aware_ternary(weight, same), Codebook.fit(weight, Ternary(None), PerChannel()).fake(weight))
    filters = weight.reshape(5, 8, 5, 5)
    assert torch.equal(loss_aware_ternary(filters, same.reshape(5, 8, 5, 5)).flatten(1), loss_aware_ternary(weight, same))


def test_a_weighted_loss_is_lower_than_with_plain_signs():
    weight, curvature = _case(3, 20, 300)
    error = lambda rounded: (curvature * (weight - rounded) ** 2).sum()
    assert error(loss_aware_ternary(weight, curvature)) < error(loss_aware_signs(weight, curvature)) < error(scaled_signs(weight))


def test_zeros_stay_zeros_and_what_does_not_fit_is_named():
    assert torch.equal(loss_aware_ternary(torch.zeros(2, 3), torch.ones(2, 3)), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="smallest value 0"):
        loss_aware_signs(torch.ones(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"curvature has shape \(3, 2\)"):
        loss_aware_signs(torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"expected \(outputs, ...\)"):
        loss_aware_ternary(torch.ones(3), torch.ones(3))
