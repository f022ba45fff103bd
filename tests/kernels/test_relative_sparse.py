"""Gaps and codes of 2 bytes a weight: packing, every instruction set against float64, and bytes that are damaged."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_real_layers import close

from qtoolkit import kernels
from qtoolkit.kernels.relative_sparse import (pack_places, pack_relative_sparse, portable_relative_sparse_linear, relative_sparse_linear,
                                              unpack_relative_sparse)
from qtoolkit.kernels.sparse import pack_sparse, sparse_linear

ISAS = kernels.info()["isas_available"]
native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")
START, GAPS = 64 + 4 * 256 + 4, 64 + 4 * 256 + 4 + 8     # of a layer of one output


def case(n, k, density, entries, seed):
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, entries, (n, k), generator=g) * (torch.rand(n, k, generator=g) < density)
    codebook = torch.randn(entries, generator=g)
    codebook[0] = 0
    return codes, codebook, torch.randn(n, generator=g)


@native
@pytest.mark.parametrize("isa", ISAS)
@given(m=st.one_of(st.integers(0, 40), st.integers(41, 150)), n=st.integers(1, 150), k=st.integers(1, 900),
       density=st.sampled_from([0.0, 0.002, 0.1, 1.0]), entries=st.integers(1, 256), seed=st.integers(0, 10**6))
def test_equals_dense(isa, m, n, k, density, entries, seed):
    codes, codebook, bias = case(n, k, density, entries, seed)
    x = torch.randn(m, k, generator=torch.Generator().manual_seed(seed + 1))
    with kernels.use_isa(isa):
        assert close(relative_sparse_linear(x, pack_relative_sparse(codes, codebook, bias), n), x, codebook[codes], bias)


def uneven(n, k, seed=0):
    """Rows of very different length: none, all, only the last input, and every tenth weight."""
    codes, codebook, bias = case(n, k, 0.1, 256, seed)
    codes[0], codes[1::5], codes[2::5], codes[2::5, -1] = 0, 7, 0, 9
    return codes, codebook, bias


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n, k", [(1, 40), (3, 1), (5, 3), (19, 37), (35, 64), (81, 130)])
def test_both_kinds_in_every_batch(isa, n, k):
    codes, codebook, bias = uneven(n, k)
    weight = codebook[codes]
    csr, relative = pack_sparse(weight, bias), pack_relative_sparse(codes, codebook, bias)
    with kernels.use_isa(isa):
        for m in range(1, 71):                                      # 64, 32 or 16 rows at a time, then one by one
            x = torch.randn(m, k, generator=torch.Generator().manual_seed(m))
            assert close(sparse_linear(x, csr, n), x, weight, bias) and close(relative_sparse_linear(x, relative, n), x, weight, bias)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("m", [49, 64, 113, 130])
@pytest.mark.parametrize("k", [2048, 2049])                         # from here on, 64 rows are too many columns for the cache
def test_both_kinds_where_the_columns_grow_large(isa, m, k):
    codes, codebook, bias = uneven(17, k)
    x, weight = torch.randn(m, k, generator=torch.Generator().manual_seed(m)), codebook[codes]
    with kernels.use_isa(isa):
        assert close(sparse_linear(x, pack_sparse(weight, bias), 17), x, weight, bias)
        assert close(relative_sparse_linear(x, pack_relative_sparse(codes, codebook, bias), 17), x, weight, bias)


@native
@pytest.mark.parametrize("rows", [1, 9, 40, 64])
def test_all_weights_in_one_row(rows):
    codes = torch.zeros(100, 300, dtype=torch.int64)
    codes[70] = 1
    codebook, x = torch.tensor([0.0, 0.5]), torch.randn(rows, 300, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(100)
    assert close(sparse_linear(x, pack_sparse(codebook[codes]), 100), x, codebook[codes], zero)
    assert close(relative_sparse_linear(x, pack_relative_sparse(codes, codebook), 100), x, codebook[codes], zero)


@given(n=st.integers(1, 20), k=st.integers(1, 2000), density=st.sampled_from([0.0, 0.001, 0.02, 1.0]), seed=st.integers(0, 10**6))
def test_packing_is_the_loop_over_a_row_and_keeps_everything(n, k, density, seed):
    codes, codebook, bias = case(n, k, density, 256, seed)
    layer = pack_relative_sparse(codes, codebook, bias)
    rows = unpack_relative_sparse(layer)
    assert torch.equal(rows.codes().long(), codes) and torch.equal(rows.codebook, codebook) and torch.equal(rows.bias, bias)
    gaps, stored = [], []
    for row in codes.tolist():
        zeros = 0
        for code in row:
            if code or zeros == 255 and any(row):
                gaps.append(zeros), stored.append(code)
                zeros = 0
            else:
                zeros += 1
        while stored and stored[-1] == 0:       # the loop also bridges the zeros at a row's end
            gaps.pop(), stored.pop()
    written = layer[64 + 4 * (256 + 2 * n + 1) :]
    assert written.tolist() == gaps + stored


@pytest.mark.parametrize("k, place, fillers", [(256, 255, 0), (257, 256, 1), (512, 511, 1), (513, 512, 2), (70_000, 69_999, 273)])
def test_a_long_gap_is_bridged_by_fillers(k, place, fillers):
    layer = pack_places(torch.tensor([place]), torch.tensor([1]), torch.tensor([0.0, 2.0]), (1, k))
    assert unpack_relative_sparse(layer).code.tolist() == [0] * fillers + [1]
    x = torch.zeros(9, k)
    x[:, place] = 3.0
    assert torch.equal(relative_sparse_linear(x, layer, 1), torch.full((9, 1), 6.0)) and relative_sparse_linear(x[:1], layer, 1) == 6


@native
def test_threads_change_nothing():
    codes, codebook, bias = case(500, 4000, 0.1, 256, 0)
    layer, before = pack_relative_sparse(codes, codebook, bias), torch.get_num_threads()
    for m in (1, 70):
        x, results = torch.randn(m, 4000), []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(relative_sparse_linear(x, layer, 500))
        torch.set_num_threads(before)
        assert torch.equal(*results)


class TestOperator:
    codes, codebook, bias = case(20, 33, 0.5, 9, 0)
    layer = pack_relative_sparse(codes, codebook, bias)

    def test_opcheck_compile_export_and_half_precision(self):
        x = torch.randn(2, 3, 33, generator=torch.Generator().manual_seed(0))
        torch.library.opcheck(relative_sparse_linear, (x, self.layer, 20))
        got = relative_sparse_linear(x, self.layer, 20)
        assert torch.equal(torch.compile(lambda x: relative_sparse_linear(x, self.layer, 20) + 1, fullgraph=True, backend="aot_eager")(x), got + 1)
        assert relative_sparse_linear(x.bfloat16(), self.layer, 20).dtype == torch.bfloat16
        assert torch.allclose(got, portable_relative_sparse_linear(x, self.layer, 20), atol=1e-5)
        assert torch.allclose(relative_sparse_linear(x.transpose(0, 1), self.layer, 20), got.transpose(0, 1), atol=1e-5)

        class Network(torch.nn.Module):
            def forward(self, x, layer):
                return relative_sparse_linear(x, layer, 20)

        assert torch.equal(torch.export.export(Network(), (x, self.layer)).module()(x, self.layer), got)

    def test_what_does_not_fit_is_named(self):
        x, layer = torch.randn(2, 33), self.layer
        for run in (relative_sparse_linear, portable_relative_sparse_linear):
            for wrong in ((x[:, :32], layer, 20), (x, layer, 21), (x, layer[:-1], 20), (x, layer[:9], 20), (x * float("inf"), layer, 20)):
                with pytest.raises(ValueError, match="expected|fit|are not a"):
                    run(*wrong)
        with pytest.raises(ValueError, match="floating"):
            relative_sparse_linear(x.int(), layer, 20)

    @pytest.mark.parametrize("rows", [1, 9, 70])
    def test_altered_bytes_are_refused_alike_or_read_alike(self, rows):
        rng, x = np.random.default_rng(rows), torch.randn(rows, 33)
        refused = 0
        for trial in range(300):
            altered = self.layer.clone()
            for _ in range(rng.integers(1, 5)):
                altered[rng.integers(1088, len(altered)) if trial % 2 else rng.integers(0, len(altered))] = int(rng.integers(0, 256))
            altered = altered[: len(altered) - int(rng.integers(0, 10) == 0)].clone()
            try:
                expected = portable_relative_sparse_linear(x, altered, 20)
            except ValueError:
                refused += 1
                with pytest.raises(ValueError):
                    relative_sparse_linear(x, altered, 20)
            else:
                assert torch.allclose(relative_sparse_linear(x, altered, 20), expected, rtol=1e-3, atol=1e-3, equal_nan=True)
        assert 30 < refused < 300


@pytest.mark.parametrize("rows", [1, 20])
def test_a_gap_beyond_the_inputs_is_refused_not_followed(rows):
    layer = pack_relative_sparse(torch.tensor([[1, 0, 0, 1]]), torch.tensor([0.0, 1.0]))
    x = torch.ones(rows, 4)
    assert (relative_sparse_linear(x, layer, 1) == 2).all()
    layer[GAPS + 1] = 3                                             # the second weight now lies at 4, one beyond the last input
    for run in (relative_sparse_linear, portable_relative_sparse_linear):
        with pytest.raises(ValueError, match="beyond its 4 inputs"):
            run(x, layer, 1)


@pytest.mark.parametrize("rows", [1, 9, 40, 64])
@pytest.mark.parametrize("gap", [1, 255])
def test_a_gap_beyond_the_inputs_is_refused_wherever_it_stands(rows, gap):
    whole = pack_relative_sparse(torch.ones(1, 19).long(), torch.tensor([0.0, 1.0]))      # whole steps of four or eight weights, then three
    for weight in range(19):
        layer = whole.clone()
        layer[GAPS + weight] = gap                                  # the last weight now lies beyond the last input
        with pytest.raises(ValueError, match="beyond its 19 inputs"):
            relative_sparse_linear(torch.ones(rows, 19), layer, 1)


def test_rows_and_codebook_of_damaged_bytes_are_refused():
    whole = pack_relative_sparse(torch.tensor([[1, 0, 0, 1]]), torch.tensor([0.0, 1.0]))
    for at, value in ((START, 3), (START + 4, 3), (START + 3, 255), (64 + 3, 63)):
        layer = whole.clone()
        layer[at] = value
        for run in (relative_sparse_linear, portable_relative_sparse_linear):
            with pytest.raises(ValueError, match="do not follow each other"):
                run(torch.ones(1, 4), layer, 1)


def test_layers_that_cannot_be_packed_are_named():
    ones, book = torch.ones(2, 2).long(), torch.tensor([0.0, 1.0])
    for call in (lambda: pack_relative_sparse(torch.ones(2, 2), book), lambda: pack_relative_sparse(ones[0], book),
                 lambda: pack_relative_sparse(ones, book[1:]), lambda: pack_relative_sparse(ones, torch.zeros(257)),
                 lambda: pack_relative_sparse(2 * ones, book), lambda: pack_relative_sparse(-ones, book),
                 lambda: pack_relative_sparse(ones, torch.tensor([0.0, float("nan")])), lambda: pack_relative_sparse(ones, book, torch.ones(3)),
                 lambda: pack_places(torch.tensor([3, 1]), ones[0], book, (2, 2)), lambda: pack_places(torch.tensor([3, 4]), ones[0], book, (2, 2))):
        with pytest.raises(ValueError, match="expected"):
            call()
