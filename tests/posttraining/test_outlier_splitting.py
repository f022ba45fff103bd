"""Split channels: the product is kept, the codes add up exactly, and why halves rounded to even do not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit.posttraining import split_outliers


def _heavy(outputs: int, inputs: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(outputs, inputs, generator=generator, dtype=torch.float64) ** 3


def _sums_by_source(columns: torch.Tensor, source: torch.Tensor, inputs: int) -> torch.Tensor:
    return torch.zeros(len(columns), inputs, dtype=columns.dtype).index_add_(1, source, columns)


@given(outputs=st.integers(1, 9), inputs=st.integers(1, 30), bits=st.integers(2, 8), ratio=st.floats(0, 2), seed=st.integers(0, 10**6))
def test_the_codes_of_the_parts_add_up_to_the_code_of_the_weight(outputs, inputs, bits, ratio, seed):
    """Q(w_a) + Q(w_b) = Q(w) for every weight, however often its column was split."""
    weight = _heavy(outputs, inputs, seed)
    split = split_outliers(weight, bits, ratio)
    whole = torch.floor(weight / split.scale + 0.5).to(torch.int32)
    near = (weight / split.scale + 0.5 - (weight / split.scale + 0.5).round()).abs() < 1e-9  # at the edge of a code, float arithmetic decides
    assert torch.equal(_sums_by_source(split.codes(), split.source, inputs)[~near], whole[~near])


@given(outputs=st.integers(1, 9), inputs=st.integers(1, 30), ratio=st.floats(0, 2), seed=st.integers(0, 10**6))
def test_the_product_is_kept_and_the_size_is_as_promised(outputs, inputs, ratio, seed):
    weight, x = _heavy(outputs, inputs, seed), torch.randn(4, inputs, dtype=torch.float64)
    split = split_outliers(weight, 4, ratio)
    torch.testing.assert_close(x[:, split.source] @ split.weight.T, x @ weight.T)
    assert split.weight.shape[1] == len(split.source) == inputs + -int(-ratio * inputs // 1)
    assert split.codes().abs().max() <= 7


def test_the_range_shrinks_with_the_column_that_holds_it():
    weight = torch.tensor([[1.0, 8.0, 2.0], [0.5, -4.0, 3.0]])
    assert [split_outliers(weight, 4, count / 3).scale.item() * 7 for count in range(5)] == pytest.approx([8, 4, 4, 3, 2])
    assert split_outliers(weight, 4, 1.0).source.tolist() == [0, 1, 2, 1, 1, 1]


def test_plain_halves_err_by_a_step_where_the_code_is_odd():
    """What the half step between the parts is for: 3 S in two plain halves of 3/2 becomes 2 + 2."""
    split = split_outliers(torch.tensor([[6.0], [3.0]]), bits=3, ratio=1.0)  # 6 halves to 3, three levels of S = 1
    assert split.scale == 1 and torch.floor(torch.tensor(3.0) / 2 + 0.5) * 2 == 4
    assert split.weight[1].tolist() == [1.25, 1.75] and split.codes()[1].tolist() == [1, 2]


def test_rounding_half_to_even_breaks_at_ties():
    """5/2 S is a tie: to even it is 2, and its parts 1 and 3/2 are 1 + 2. Halves up, both ways give 3."""
    split = split_outliers(torch.tensor([[6.0], [2.5]]), bits=3, ratio=1.0)
    assert split.weight[1].tolist() == [1.0, 1.5]
    assert torch.round(split.weight[1]).sum() == 3 != torch.round(torch.tensor(2.5))
    assert split.codes()[1].sum() == 3 == torch.floor(torch.tensor(2.5) + 0.5)


def test_a_layer_with_outliers_loses_less():
    weight = torch.randn(64, 100, generator=torch.Generator().manual_seed(1))
    weight[:, 17] *= 8
    x = torch.randn(500, 100, generator=torch.Generator().manual_seed(2))
    error = [((x[:, split.source] @ (split.codes() * split.scale).T) - x @ weight.T).square().mean().item()
             for split in (split_outliers(weight, 4, ratio) for ratio in (0, 0.05))]
    assert error[1] < 0.25 * error[0]


def test_a_matrix_of_zeros_is_split_without_harm():
    split = split_outliers(torch.zeros(2, 3), 4, 1.0)
    assert split.scale == 1 and split.weight.shape == (2, 6) and split.weight.isfinite().all()


def test_what_cannot_be_split_is_named():
    with pytest.raises(ValueError, match=r"weight has shape \(3,\), expected \(outputs, inputs\)"):
        split_outliers(torch.ones(3), 4)
    with pytest.raises(ValueError, match="ratio is -0.1"):
        split_outliers(torch.ones(2, 3), 4, -0.1)
    with pytest.raises(ValueError, match="bits is 1"):
        split_outliers(torch.ones(2, 3), 1)
    with pytest.raises(ValueError, match="NaN"):
        split_outliers(torch.ones(2, 3) * float("nan"), 4)
