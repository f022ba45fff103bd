"""Binary, ternary, codebook and sparse layers on every instruction set, against numpy, scipy and dense torch in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit import kernels
from qtoolkit.kernels.sparse import pack_sparse, portable_sparse_linear, sparse_linear, unpack_sparse
from qtoolkit.kernels.table import pack_binary, pack_codebook, pack_ternary, portable_table_linear, table_linear, unpack_table

ISAS = kernels.info()["isas_available"]
native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")
sizes = dict(m=st.one_of(st.integers(0, 40), st.integers(41, 150)), n=st.integers(1, 150), k=st.integers(1, 150), seed=st.integers(0, 10**6))


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(got, x, weight, bias):
    """Within float32 rounding of the sum of the sizes of all products."""
    exact = x.double() @ weight.double().T + bias.double()
    worst = (x.abs().double() @ weight.abs().double().T + bias.abs()) * 2**-24 * (x.shape[-1] + 2)
    return ((got.double() - exact).abs() <= worst + 1e-30).all()


@native
@pytest.mark.parametrize("isa", ISAS)
@given(**sizes)
def test_binary_counts_exactly(isa, m, n, k, seed):
    x, weight, scale, bias = randn(m, k, seed=seed), randn(n, k, seed=seed + 1), randn(n, seed=seed + 2), randn(n, seed=seed + 3)
    x[x.abs() < 0.1] = 0.0  # zero counts as +1, also -0.0
    x[x > 2] = -0.0
    agree = np.where(x.numpy() < 0, -1, 1) @ np.where(weight.numpy() < 0, -1, 1).T
    with kernels.use_isa(isa):
        got = table_linear(x, pack_binary(weight, scale, bias), n)
    assert np.array_equal(got.numpy(), agree.astype(np.float32) * scale.numpy() + bias.numpy())


@native
@pytest.mark.parametrize("isa", ISAS)
@given(**sizes)
def test_ternary_counts_exactly_where_a_weight_is_not_zero(isa, m, n, k, seed):
    x, scale, bias = randn(m, k, seed=seed), randn(n, seed=seed + 2), randn(n, seed=seed + 3)
    weight = torch.randint(-1, 2, (n, k), generator=torch.Generator().manual_seed(seed))
    sums = np.where(x.numpy() < 0, -1, 1) @ weight.numpy().T
    with kernels.use_isa(isa):
        got = table_linear(x, pack_ternary(weight.float() * 0.3, scale, bias), n)
    assert np.array_equal(got.numpy(), sums.astype(np.float32) * scale.numpy() + bias.numpy())


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pack", [pack_binary, pack_ternary])
@pytest.mark.parametrize("m, k, n", [(70, 1000, 300), (33, 4127, 40), (48, 2048, 17)])
def test_signs_of_large_layers(isa, pack, m, k, n):
    x, weight = randn(m, k), randn(n, k, seed=1).round()
    sums = torch.where(x < 0, -1.0, 1.0).double() @ (torch.where(weight < 0, -1.0, 1.0) if pack is pack_binary else weight.sign()).double().T
    with kernels.use_isa(isa):
        assert torch.equal(table_linear(x, pack(weight), n).double(), sums)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", [1, 31, 64, 77, 150])
def test_signs_want_finite_inputs_but_of_any_size(isa, k):
    layer = pack_binary(torch.ones(3, k))
    x = torch.full((2, k), torch.finfo(torch.float32).max)
    x[1] = -torch.finfo(torch.float32).smallest_normal / 4
    with kernels.use_isa(isa):
        assert torch.equal(table_linear(x, layer, 3), torch.tensor([k, -k]).float()[:, None].expand(2, 3))
        for wrong in (float("nan"), float("inf"), float("-inf")):
            for at in {0, k // 2, k - 1}:
                bad = x.clone()
                bad[1, at] = wrong
                with pytest.raises(ValueError, match="NaN or infinity"):
                    table_linear(bad, layer, 3)


@native
@pytest.mark.parametrize("isa", ISAS)
@given(entries=st.integers(1, 32), **sizes)
def test_codebook_looks_up_every_entry(isa, entries, m, n, k, seed):
    x, codebook, bias = randn(m, k, seed=seed), randn(entries, seed=seed + 1), randn(n, seed=seed + 2)
    indices = torch.randint(0, entries, (n, k), generator=torch.Generator().manual_seed(seed))
    with kernels.use_isa(isa):
        assert close(table_linear(x, pack_codebook(indices, codebook, bias), n), x, codebook[indices], bias)


@native
@pytest.mark.parametrize("isa", ISAS)
@given(density=st.sampled_from([0.0, 0.05, 0.5, 1.0]), **sizes)
def test_sparse_equals_dense(isa, density, m, n, k, seed):
    x, weight, bias = randn(m, k, seed=seed), randn(n, k, seed=seed + 1), randn(n, seed=seed + 2)
    weight[torch.rand(n, k, generator=torch.Generator().manual_seed(seed)) >= density] = 0
    with kernels.use_isa(isa):
        assert close(sparse_linear(x, pack_sparse(weight, bias), n), x, weight, bias)


def test_sparse_rows_are_those_of_scipy():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    weight = randn(30, 50)
    weight[weight < 1] = 0
    ours, theirs = unpack_sparse(pack_sparse(weight)), scipy_sparse.csr_matrix(weight.numpy())
    assert np.array_equal(ours.start.numpy(), theirs.indptr) and np.array_equal(ours.index.numpy(), theirs.indices)
    assert np.array_equal(ours.value.numpy(), theirs.data)


@native
def test_threads_change_nothing():
    x, weight = randn(70, 1000), randn(500, 1000, seed=1)
    layers = [(table_linear, pack_binary(weight)), (table_linear, pack_codebook(weight.abs().long().clamp(max=15), randn(16))),
              (sparse_linear, pack_sparse(weight * (weight > 1)))]
    before = torch.get_num_threads()
    for op, layer in layers:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(op(x, layer, 500))
        torch.set_num_threads(before)
        assert torch.equal(*results)


@given(n=st.integers(1, 40), k=st.integers(1, 80), entries=st.integers(1, 32), seed=st.integers(0, 10**6))
def test_packing_keeps_everything(n, k, entries, seed):
    indices = torch.randint(0, entries, (n, k), generator=torch.Generator().manual_seed(seed))
    codebook = randn(entries, seed=seed)
    opened = unpack_table(pack_codebook(indices, codebook))
    assert torch.equal(opened.indices[:, 0].long(), indices) and torch.equal(opened.entries[:entries], codebook)
    weight = randn(n, k, seed=seed)
    assert torch.equal(unpack_table(pack_binary(weight)).weight()[:, 0], torch.where(weight < 0, -1.0, 1.0))
    ternary = torch.where(weight.abs() < 0.5, 0.0, weight)
    assert torch.equal(unpack_table(pack_ternary(ternary)).weight()[:, 0], ternary.sign())
    images = randn(n, 1 + k % 40, 3, 2, seed=seed)
    assert torch.equal(unpack_table(pack_ternary(images)).weight(), images.flatten(2).transpose(1, 2).sign())


LAYERS = [(table_linear, portable_table_linear, pack_binary(randn(20, 33))),
          (table_linear, portable_table_linear, pack_ternary(randn(20, 33).round())),
          (table_linear, portable_table_linear, pack_codebook(torch.arange(660).reshape(20, 33) % 20, randn(20))),
          (sparse_linear, portable_sparse_linear, pack_sparse(randn(20, 33).relu()))]


@pytest.mark.parametrize("op, portable, layer", LAYERS, ids=["binary", "ternary", "codebook", "sparse"])
class TestEvery:
    def test_opcheck_compile_and_half_precision(self, op, portable, layer):
        x = randn(2, 3, 33)
        torch.library.opcheck(op, (x, layer, 20))
        compiled = torch.compile(lambda x: op(x, layer, 20) + 1, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(x), op(x, layer, 20) + 1)
        assert op(x.bfloat16(), layer, 20).dtype == torch.bfloat16
        assert torch.allclose(op(x, layer, 20), portable(x, layer, 20), atol=1e-4)
        assert torch.allclose(op(x.transpose(0, 1), layer, 20), portable(x, layer, 20).transpose(0, 1), atol=1e-4)

    def test_what_does_not_fit_is_named(self, op, portable, layer):
        x = randn(2, 33)
        for run in (op, portable):
            for wrong in ((x[:, :32], layer, 20), (x, layer, 21), (x, layer[:-1], 20), (x, layer[:9], 20), (x * float("inf"), layer, 20)):
                with pytest.raises(ValueError, match="expected|fit|are not a"):
                    run(*wrong)
        with pytest.raises(ValueError, match="floating"):
            op(x.int(), layer, 20)

    def test_altered_bytes_never_crash(self, op, portable, layer):
        rng = np.random.default_rng(0)
        for trial in range(300):
            altered = layer.clone()
            for _ in range(rng.integers(1, 5)):
                altered[rng.integers(0, 300 if trial % 2 else len(layer))] = int(rng.integers(0, 256))
            try:
                op(randn(9, 33), altered[: len(layer) - int(rng.integers(0, 2))].clone(), 20)
            except ValueError:
                pass


def damaged_tiles(n, k):
    """Packed layers with one byte changed: an index beyond the inputs of its tile (the first of all, the last of all), a slice too
    high, an output beyond its window; and what the reference says of each."""
    weight = randn(n, k)
    layer = pack_sparse(weight)
    stored, outputs = n * k, -(-n // 16) * 16                       # nothing is zero: the longest rows are complete
    fillers = (outputs - n) * k
    lists = layer.numel() - (stored + fillers) - outputs
    slices = outputs // 16
    for at, wrong, message in ((layer.numel() - stored - fillers, k, f"outside its {k} inputs"), (layer.numel() - 1, 255, f"outside its {k} inputs"),
                               (lists - slices, 0, "do not fill its tiles"), (lists + 3, 255, "each of its outputs once")):
        damaged = layer.clone()
        assert damaged[at] != wrong
        damaged[at] = wrong
        yield damaged, message


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 9, 70])
def test_a_damaged_tile_is_refused(isa, rows):
    for damaged, _ in damaged_tiles(70, 33):
        with kernels.use_isa(isa), pytest.raises(ValueError, match="damaged"):
            sparse_linear(randn(rows, 33), damaged, 70)


def test_a_damaged_tile_is_refused_by_the_reference():
    for damaged, message in damaged_tiles(19, 5):
        with pytest.raises(ValueError, match=message):
            portable_sparse_linear(randn(2, 5), damaged, 19)


def test_an_output_in_two_places_is_refused_by_the_reference():
    layer = pack_sparse(randn(32, 4))
    orders = layer.numel() - 32 * 4 - 32
    layer[orders] = layer[orders + 1]
    with pytest.raises(ValueError, match="each of its outputs once"):
        unpack_sparse(layer)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n, k", [(255, 127), (256, 128), (257, 129), (300, 784), (513, 40), (17, 1000)])
@pytest.mark.parametrize("m", [1, 8, 9, 17, 49, 64, 70])
def test_sparse_in_several_tiles(isa, m, n, k):
    x, weight, bias = randn(m, k), randn(n, k, seed=1), randn(n, seed=2)
    weight[torch.rand(n, k, generator=torch.Generator().manual_seed(0)) < torch.rand(n, 1, generator=torch.Generator().manual_seed(1))] = 0
    with kernels.use_isa(isa):
        assert close(sparse_linear(x, pack_sparse(weight, bias), n), x, weight, bias)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("m, row, column", [(1, 0, 299), (9, 8, 0), (70, 40, 150), (70, 69, 299)])
def test_a_sparse_layer_refuses_what_is_not_finite_anywhere(isa, m, row, column):
    layer, x = pack_sparse(randn(20, 300).relu()), randn(m, 300)
    x[row, column] = float("nan")
    with kernels.use_isa(isa), pytest.raises(ValueError, match="NaN or infinity"):
        sparse_linear(x, layer, 20)


@given(n=st.integers(1, 600), k=st.integers(1, 400), density=st.sampled_from([0.0, 0.01, 0.2, 1.0]), seed=st.integers(0, 10**6))
def test_sparse_packing_keeps_everything(n, k, density, seed):
    weight = randn(n, k, seed=seed) * (torch.rand(n, k, generator=torch.Generator().manual_seed(seed)) < density)
    rows = unpack_sparse(pack_sparse(weight, weight[:, 0]))
    rebuilt = torch.zeros(n, k)
    rebuilt[torch.repeat_interleave(torch.arange(n), rows.start.diff().long()), rows.index.long()] = rows.value
    assert torch.equal(rebuilt, weight) and torch.equal(rows.bias, weight[:, 0]) and len(rows.value) == weight.count_nonzero()


def test_layers_that_cannot_be_packed_are_named():
    with pytest.raises(ValueError, match="convolution of 6 taps"):
        table_linear(randn(2, 4), pack_binary(randn(5, 4, 3, 2)), 5)
    for call in (lambda: pack_binary(torch.zeros(0, 3)), lambda: pack_ternary(torch.ones(3)), lambda: pack_binary(torch.tensor([[float("nan")]])),
                 lambda: pack_binary(torch.ones(2, 2), torch.ones(3)), lambda: pack_codebook(torch.ones(2, 2), torch.ones(2)),
                 lambda: pack_codebook(torch.ones(2, 2).long(), torch.ones(33)), lambda: pack_codebook(torch.full((1, 1), 5), torch.ones(2)),
                 lambda: pack_sparse(torch.ones(2)), lambda: pack_sparse(torch.ones(2, 2), torch.ones(3))):
        with pytest.raises((TypeError, ValueError), match="expected|not a non-empty"):
            call()
