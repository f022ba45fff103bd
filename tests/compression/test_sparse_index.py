"""Sparse storage against scipy, Han's figure 2 and a filler-by-filler loop."""

import doctest

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, strategies as st

from qtoolkit.compression import sparse_index
from qtoolkit.compression.sparse_index import (FIRST_IN_FIGURE, csc, csr, gaps_with_fillers, positions, read_gaps,
                                               relative_index)


def test_docstrings_run():
    assert doctest.testmod(sparse_index).failed == 0


def _sparse(rows: int, columns: int, density: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    return weight * (torch.rand(rows, columns, generator=generator) < density)


@pytest.mark.parametrize("ours, theirs", [(csr, scipy.sparse.csr_matrix), (csc, scipy.sparse.csc_matrix)])
@pytest.mark.parametrize("shape, density", [((30, 70), 0.1), ((1, 300), 0.5), ((5, 4), 0.0), ((7, 3), 1.0)])
def test_compressed_lines_agree_with_scipy(ours, theirs, shape, density):
    weight = _sparse(*shape, density)
    matrix, expected = ours(weight), theirs(weight.numpy())
    assert matrix.values.tolist() == expected.data.tolist()
    assert matrix.indices.tolist() == expected.indices.tolist()
    assert matrix.pointers.tolist() == expected.indptr.tolist()
    lines = shape[0] if ours is csr else shape[1]
    assert matrix.numbers == 2 * expected.nnz + lines + 1
    assert torch.equal(matrix.dense(), weight)


def test_the_bytes_hold_the_arrays():
    weight = _sparse(300, 100, 0.1)
    matrix = csr(weight.t().contiguous().t())
    a = len(matrix.values)
    raw = matrix.tobytes()
    assert len(raw) == 4 * a + 1 * a + 2 * 301
    values, columns, pointers = raw[: 4 * a], raw[4 * a : 5 * a], raw[5 * a :]
    rebuilt = scipy.sparse.csr_matrix((np.frombuffer(values, "<f4"), np.frombuffer(columns, "u1"), np.frombuffer(pointers, "<u2")),
                                      shape=(300, 100))
    assert np.array_equal(rebuilt.toarray(), weight.numpy())


@pytest.mark.parametrize("columns, width", [(256, 1), (257, 2), (65536, 2)])
def test_an_index_takes_the_fewest_bytes_that_name_every_column(columns, width):
    assert len(csr(torch.ones(1, columns)).tobytes()) == columns * (4 + width) + 2 * (2 if columns < 65536 else 4)


def test_figure_2_of_the_paper():
    gaps, entry = gaps_with_fillers(torch.tensor([1, 4, 15]), bits=3, origin=FIRST_IN_FIGURE)
    assert gaps.tolist() == [1, 3, 8, 3] and entry.tolist() == [0, 1, 3]
    assert positions(gaps, FIRST_IN_FIGURE)[entry].tolist() == [1, 4, 15]


def _gaps_by_hand(places, bits):
    gaps, values, last = [], [], -1
    for place in places:
        while place - last > 2**bits:
            gaps.append(2**bits)
            values.append(0)
            last += 2**bits
        gaps.append(place - last)
        values.append(1)
        last = place
    return gaps, values


@given(st.sets(st.integers(0, 500), max_size=40), st.integers(1, 9))
def test_relative_index_is_the_loop_and_its_bytes_read_back(places, bits):
    mask = torch.zeros(3, 167, dtype=torch.int32)
    mask.view(-1)[sorted(places)] = 1
    index = relative_index(mask, bits)
    gaps, values = _gaps_by_hand(sorted(places), bits)
    assert index.gaps.tolist() == gaps and index.values.tolist() == values
    assert index.fillers == values.count(0)
    assert torch.equal(index.dense(), mask)
    assert len(index.tobytes()) == index.nbytes == (len(gaps) * bits + 7) // 8
    assert torch.equal(read_gaps(index.tobytes(), bits, len(gaps)), index.gaps)


def test_wide_gaps_need_no_filler_and_narrow_gaps_are_mostly_fillers():
    weight = _sparse(200, 500, 0.01)
    kept = int((weight != 0).sum())
    fillers = [relative_index(weight, bits).fillers for bits in (1, 3, 5, 8, 16)]
    assert fillers == sorted(fillers, reverse=True)
    assert fillers[0] > 40 * kept and fillers[-1] == 0


def test_a_boundary_gap_takes_no_filler():
    for distance, expected in ((8, [8]), (9, [8, 1]), (16, [8, 8]), (17, [8, 8, 1])):
        assert gaps_with_fillers(torch.tensor([distance - 1]), bits=3)[0].tolist() == expected


def test_bad_inputs_are_refused():
    with pytest.raises(ValueError, match="increase strictly"):
        gaps_with_fillers(torch.tensor([3, 3]), 4)
    with pytest.raises(ValueError, match="increase strictly"):
        gaps_with_fillers(torch.tensor([-2]), 4)
    with pytest.raises(TypeError, match="integer dtype"):
        gaps_with_fillers(torch.tensor([1.5]), 4)
    with pytest.raises(ValueError, match="bits"):
        relative_index(torch.ones(3), 17)
    with pytest.raises(ValueError, match="expected a matrix"):
        csr(torch.ones(2, 2, 2))
    with pytest.raises(ValueError, match="NaN"):
        csc(torch.tensor([[float("nan")]]))
