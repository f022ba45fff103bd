"""Weights pruned in tiles of 16 x 4: packing, every instruction set against exact integers and the dense operator, damaged bytes."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_int8_ops import codes, native, numpy_requantize, numpy_sums, pack, random_layer

from qtoolkit import kernels
from qtoolkit.kernels import ops
from qtoolkit.kernels.layer import pack_layer, unpack_layer
from qtoolkit.kernels.tile_sparse import (dense_layer, int8_tile_sparse_linear, pack_tile_sparse, portable_int8_tile_sparse_linear,
                                          read_tiles, tile_sparse_reference, unpack_tile_sparse)

ISAS = kernels.info()["isas_available"]
DENSITIES = st.sampled_from([0.0, 0.05, 0.3, 1.0])


def pruned(weight, density, seed):
    """numpy codes with whole tiles set to 0, a share `density` of them kept; loops, no code of ours."""
    rng, weight = np.random.default_rng(seed), weight.copy()
    for n in range(0, weight.shape[0], 16):
        for k in range(0, weight.shape[1], 4):
            if rng.random() >= density:
                weight[n : n + 16, k : k + 4] = 0
    return weight


def sparse_case(n, k, density, seed, **more):
    """(weight, bias, parts, bytes) of a pruned layer."""
    weight, bias, parts = random_layer(n, k, seed, **more)
    weight = pruned(weight, density, seed)
    return weight, bias, parts, pack_tile_sparse(torch.from_numpy(weight).to(torch.int8), torch.from_numpy(bias), **parts)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("extreme", [False, True])
@given(m=st.integers(0, 70), n=st.integers(1, 70), k=st.integers(1, 90), density=DENSITIES, seed=st.integers(0, 10**6))
def test_exact_and_the_dense_operator_on_every_tail(isa, extreme, m, n, k, density, seed):
    weight, bias, parts, layer = sparse_case(n, k, density, seed, extreme=extreme)
    x = codes(np.random.default_rng(seed + 1), m, k, extreme=extreme)
    expected = numpy_requantize(numpy_sums(x, weight, bias, parts["input_zero_point"]), parts)
    with kernels.use_isa(isa):
        got = int8_tile_sparse_linear(torch.from_numpy(x), layer, n)
        assert np.array_equal(got.numpy(), expected)
        assert torch.equal(got, ops.int8_linear(torch.from_numpy(x), pack(weight, bias, parts), n))


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(1, 784, 300), (64, 1030, 100), (70, 301, 333), (3, 32768, 17), (1000, 64, 256)])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_large_layers_with_and_without_threads(isa, shape, density):
    m, k, n = shape
    weight, bias, parts, layer = sparse_case(n, k, density, 3, extreme=True, input_zero_point=-128)
    x, before = torch.from_numpy(codes(np.random.default_rng(1), m, k, extreme=True)), torch.get_num_threads()
    with kernels.use_isa(isa):
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert torch.equal(int8_tile_sparse_linear(x, layer, n), ops.int8_linear(x, pack(weight, bias, parts), n))
    torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ISAS or ["torch"])
def test_every_number_of_rows_and_of_tiles_in_a_block(isa):
    """Block b of outputs has b tiles: whatever is left over beside those in flight."""
    blocks = 13
    weight = torch.zeros(16 * blocks, 4 * blocks, dtype=torch.int8)
    for block in range(blocks):
        weight[16 * block : 16 * block + 16, : 4 * block] = torch.randint(-127, 128, (16, 4 * block), generator=torch.Generator().manual_seed(block))
    parts = dict(multiplier=torch.tensor(2**30), shift=torch.tensor(42), input_zero_point=7)
    dense, sparse = pack_layer(weight, **parts), pack_tile_sparse(weight, **parts)
    assert read_tiles(sparse).start.diff().tolist() == list(range(blocks))
    for m in range(20):
        x = torch.randint(-128, 128, (m, 4 * blocks), generator=torch.Generator().manual_seed(m), dtype=torch.int8)
        assert torch.equal(forced(isa, x, sparse, 16 * blocks), ops.int8_linear(x, dense, 16 * blocks))


@given(m=st.integers(0, 5), n=st.integers(1, 40), k=st.integers(1, 40), density=DENSITIES, seed=st.integers(0, 10**6))
def test_the_reference_and_the_fallback_are_the_operator(m, n, k, density, seed):
    weight, bias, parts, layer = sparse_case(n, k, density, seed, lowest=-100, highest=90)
    x = torch.from_numpy(codes(np.random.default_rng(seed), m, k))
    expected = torch.from_numpy(numpy_requantize(numpy_sums(x.numpy(), weight, bias, parts["input_zero_point"]), parts)).to(torch.int8)
    for run in (int8_tile_sparse_linear, portable_int8_tile_sparse_linear, lambda x, layer, n: tile_sparse_reference(x, layer)):
        assert torch.equal(run(x, layer, n), expected.reshape(m, n))


@given(n=st.integers(1, 50), k=st.integers(1, 50), density=DENSITIES, seed=st.integers(0, 10**6))
def test_packing_keeps_everything_and_stores_what_is_not_zero(n, k, density, seed):
    weight, bias, parts, layer = sparse_case(n, k, density, seed)
    dense = pack(weight, bias, parts)
    assert torch.equal(dense_layer(layer), dense)
    opened, expected = unpack_tile_sparse(layer), unpack_layer(dense)
    assert torch.equal(opened.weight, expected.weight) and torch.equal(opened.bias, expected.bias)
    stored = [(b, i) for b in range(-(-n // 16)) for i in range(-(-k // 4)) if weight[16 * b : 16 * b + 16, 4 * i : 4 * i + 4].any()]
    tiles = read_tiles(layer)
    assert tiles.index.tolist() == [i for _, i in stored] and tiles.place.tolist() == [b * -(-k // 4) + i for b, i in stored]
    assert len(layer) == 64 + 24 * (n + -n % 16) + 66 * len(stored) + 4 * (-(-n // 16) + 1)
    for (b, i), tile in zip(stored, tiles.tile.numpy()):
        part = weight[16 * b : 16 * b + 16, 4 * i : 4 * i + 4]
        assert np.array_equal(tile[: part.shape[0], : part.shape[1]], part) and np.abs(tile.astype(int)).sum() == np.abs(part).sum()


class TestOperator:
    weight, bias, parts, layer = sparse_case(20, 33, 0.5, 0)
    x = torch.from_numpy(codes(np.random.default_rng(5), 2, 3, 33))

    def test_opcheck_compile_and_export(self):
        torch.library.opcheck(int8_tile_sparse_linear, (self.x, self.layer, 20))
        got = int8_tile_sparse_linear(self.x, self.layer, 20)
        assert got.shape == (2, 3, 20) and got.dtype == torch.int8

        class Network(torch.nn.Module):
            def forward(self, x, layer):
                return int8_tile_sparse_linear(x, layer, 20).int() + 1

        assert torch.equal(torch.compile(Network(), fullgraph=True, backend="aot_eager")(self.x, self.layer), got.int() + 1)
        exported = torch.export.export(Network(), (self.x, self.layer), dynamic_shapes=({0: torch.export.Dim("batch", min=2)}, None)).module()
        assert torch.equal(exported(self.x, self.layer), got.int() + 1) and len(exported(self.x.repeat(3, 1, 1), self.layer)) == 6

    def test_strides_and_one_row(self):
        got = int8_tile_sparse_linear(self.x, self.layer, 20)
        assert torch.equal(int8_tile_sparse_linear(self.x.transpose(0, 1), self.layer, 20), got.transpose(0, 1))
        assert torch.equal(int8_tile_sparse_linear(self.x[1, 2], self.layer, 20), got[1, 2])

    def test_what_does_not_fit_is_named(self):
        x, layer, dense = self.x, self.layer, pack(self.weight, self.bias, self.parts)
        for run in (int8_tile_sparse_linear, portable_int8_tile_sparse_linear):
            for wrong in ((x[..., :32], layer, 20), (x, layer, 21), (x, layer[:-2], 20), (x, layer[:9], 20), (x, dense, 20), (x, layer[:0], 20),
                          (x, layer.view(2, -1), 20)):
                with pytest.raises(ValueError, match="expected|fit|are not a"):
                    run(*wrong)
        for x in (self.x.float(), self.x.to(torch.uint8)):
            with pytest.raises(ValueError, match="int8"):
                int8_tile_sparse_linear(x, layer, 20)
        with pytest.raises(ValueError, match="not a layer"):
            ops.int8_linear(self.x, layer, 20)

    @pytest.mark.parametrize("isa", ISAS or ["torch"])
    @pytest.mark.parametrize("rows", [1, 9, 70])
    def test_altered_bytes_are_refused_alike_or_read_alike(self, isa, rows):
        """Header and lists take part; column sums, which only some instructions use, are made to fit what is left."""
        rng, x = np.random.default_rng(rows), torch.from_numpy(codes(np.random.default_rng(1), rows, 33))
        lists = 4 * 3 + 2 * read_tiles(self.layer).header.tiles
        refused = 0
        for trial in range(200):
            altered = self.layer.clone()
            for _ in range(rng.integers(1, 4)):
                at = rng.integers(len(altered) - lists, len(altered)) if trial % 2 else rng.integers(0, 64)
                altered[at] = int(rng.integers(0, 256) if rng.integers(0, 2) else rng.integers(0, 9))
            altered = altered[: len(altered) - int(rng.integers(0, 10) == 0)].clone()
            try:
                expected = portable_int8_tile_sparse_linear(x, altered, 20)
            except ValueError:
                refused += 1
                with pytest.raises(ValueError):
                    forced(isa, x, altered)
            else:
                altered[64 + 4 * 32 : 64 + 8 * 32] = column_sums(altered)
                assert torch.equal(forced(isa, x, altered), expected)
        assert 30 < refused < 200

    @pytest.mark.parametrize("isa", ISAS or ["torch"])
    @given(data=st.data())
    def test_no_bytes_do_harm(self, isa, data):
        """Whatever a file holds, the operator answers or raises ValueError."""
        altered = self.layer.clone()
        for _ in range(data.draw(st.integers(1, 4))):
            altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
        altered = altered[: data.draw(st.one_of(st.just(len(altered)), st.integers(0, len(altered))))].clone()
        try:
            forced(isa, self.x, altered)
        except ValueError:
            pass


def forced(isa, x, layer, outputs=20):
    with nullcontext() if isa == "torch" else kernels.use_isa(isa):
        return int8_tile_sparse_linear(x, layer, outputs)


def column_sums(layer):
    """The 32 sums of each output's weights as bytes: a tile that has gone to another block takes its share along."""
    weight = torch.zeros(32, dtype=torch.int32)
    weight[:20] = unpack_tile_sparse(layer).weight.sum(1, dtype=torch.int32)
    return weight.view(torch.uint8)


@native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 20])
def test_a_tile_beyond_the_inputs_or_out_of_order_is_refused_not_followed(isa, rows):
    weight = torch.ones(32, 12, dtype=torch.int8)
    weight[16:, 4:8] = 0
    whole = pack_tile_sparse(weight, multiplier=torch.tensor(2**30), shift=torch.tensor(30))
    x, tiles = torch.ones(rows, 12, dtype=torch.int8), 5
    index = len(whole) - 2 * tiles
    assert whole[index::2].tolist() == [0, 1, 2, 0, 2] and read_tiles(whole).start.tolist() == [0, 3, 5]
    with kernels.use_isa(isa):
        assert int8_tile_sparse_linear(x, whole, 32)[-1].tolist() == [12] * 16 + [8] * 16
        for at, value in ((4, 3), (5, 1), (9, 255), (8, 3), (0, 1), (2, 2), (6, 2), (6, 9)):
            layer = whole.clone()
            layer[index + at] = value
            for run in (int8_tile_sparse_linear, portable_int8_tile_sparse_linear):
                with pytest.raises(ValueError, match="do not increase within its 3 fours"):
                    run(x, layer, 32)
        for at, value in ((-12, 1), (-8, 200), (-5, 255), (-4, 4), (-8, 6)):
            layer = whole.clone()
            layer[index + at] = value
            for run in (int8_tile_sparse_linear, portable_int8_tile_sparse_linear):
                with pytest.raises(ValueError, match="do not follow each other"):
                    run(x, layer, 32)


def test_a_header_that_promises_too_much_costs_no_memory():
    layer = pack_tile_sparse(torch.zeros(1 << 20, 1, dtype=torch.int8))
    layer[8:12] = torch.tensor([1 << 18], dtype=torch.int32).view(torch.uint8)     # inputs: dense, that is 256 GB
    for run in (int8_tile_sparse_linear, portable_int8_tile_sparse_linear):
        with pytest.raises(ValueError, match="does not fit"):
            run(torch.zeros(1, 1, dtype=torch.int8), layer, 1 << 20)


def test_layers_that_cannot_be_packed_are_named():
    ones = torch.ones(2, 3, dtype=torch.int8)
    for call in (lambda: pack_tile_sparse(ones[:, None]), lambda: pack_tile_sparse(ones[0]), lambda: pack_tile_sparse(ones.float()),
                 lambda: pack_tile_sparse(-128 * ones), lambda: pack_tile_sparse(ones, torch.ones(3).int()), lambda: pack_tile_sparse(ones, zero_point=200)):
        with pytest.raises((TypeError, ValueError), match="expected"):
            call()
