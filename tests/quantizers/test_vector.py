"""Product, residual and activation-aware vector quantization against nanopq, scalar k-means and brute force."""

import logging

import numpy as np
import pytest
import torch

from qtoolkit.quantizers import (ForgyInit, ProductQuantizer, QTensor, ResidualQuantizer, column_blocks, input_metrics, kmeans, nearest,
                                 vector_kmeans)


def weight(out=256, columns=12, seed=0):
    return torch.randn(out, columns, generator=torch.Generator().manual_seed(seed))


def correlated_inputs(n=512, columns=12, seed=5):
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=g) * torch.logspace(-2, 1, columns)[:, None]
    return torch.randn(n, columns, generator=g) @ mixing


def test_nearest_is_brute_force():
    points, centroids = weight(500, 4) + 1000, weight(32, 4, seed=1) + 1000
    distance = (points[:, None].double() - centroids.double()).square().sum(2)
    assert torch.equal(nearest(points, centroids), distance.argmin(1))


def test_codes_equal_nanopq_with_its_code_books():
    nanopq = pytest.importorskip("nanopq")
    logging.getLogger("nanopq").setLevel(logging.ERROR)
    w = weight(400, 12)
    theirs = nanopq.PQ(M=3, Ks=16, verbose=False)
    theirs.fit(w.numpy(), iter=20, seed=0)
    ours = ProductQuantizer(torch.from_numpy(theirs.codewords))
    q = ours.encode(w)
    assert np.array_equal(q.codes.numpy(), theirs.encode(w.numpy()))
    assert np.allclose(q.dequantize().numpy(), theirs.decode(theirs.encode(w.numpy())))
    fitted = (ProductQuantizer.fit(w, k=16, dim=4).fake(w) - w).square().mean()
    assert fitted.item() == pytest.approx((q.dequantize() - w).square().mean().item(), rel=0.05)


def test_sub_vectors_of_one_number_are_scalar_kmeans():
    """From the same first centroids, both must settle in the same ones."""
    w = weight(300, 3)
    for column in w.T:
        rows = column[None]
        scalar = kmeans(rows, 8, ForgyInit(0)).centroids[0]
        start = ForgyInit(0)(rows.sort(1).values, 8)[0].float()[:, None]
        vector = vector_kmeans(column[:, None], start, steps=300)
        assert torch.allclose(vector[:, 0].sort().values, scalar, atol=1e-5)


def test_equals_scipy_kmeans_from_the_same_start():
    from scipy.cluster.vq import kmeans2

    points = weight(500, 3)
    theirs, _ = kmeans2(points.double().numpy(), points[:10].double().numpy(), iter=300, minit="matrix")
    assert np.allclose(vector_kmeans(points, points[:10], steps=300).numpy(), theirs, atol=1e-5)


@pytest.mark.parametrize("k,dim,bits", [(16, 4, 4), (256, 4, 8), (2, 1, 1), (100, 2, 7)])
def test_size_is_log2_k_over_dim_and_the_code_books(k, dim, bits):
    w = weight(256, 12)
    q = ProductQuantizer.fit(w, k, dim, steps=2).encode(w)
    blocks = 12 // dim
    assert q.nbytes == 256 * blocks * bits // 8 + blocks * k * dim * 4
    assert q.shape == w.shape and q.codes.shape == (256, blocks)


def test_as_many_code_words_as_sub_vectors_are_exact():
    w = weight(32, 8)
    assert torch.equal(ProductQuantizer.fit(w, 32, 2).fake(w), w)


def test_longer_sub_vectors_at_equal_rate_are_better_on_correlated_columns():
    w = weight(1024, 1).expand(-1, 4) + 0.1 * weight(1024, 4, seed=3)
    scalar, vector = ProductQuantizer.fit(w, 2, 1), ProductQuantizer.fit(w, 16, 4)  # 1 bit a weight each
    assert (vector.fake(w) - w).square().mean() < 0.2 * (scalar.fake(w) - w).square().mean()


def test_convolutions_are_cut_as_matrices():
    w = weight(64, 2 * 9).reshape(64, 2, 3, 3)
    quantizer = ProductQuantizer.fit(w, 8, 9)
    assert quantizer.fake(w).shape == w.shape
    assert torch.equal(quantizer.fake(w).flatten(1), quantizer.fake(w.flatten(1)))
    assert torch.equal(column_blocks(w, 9)[1], w[:, 1].flatten(1))


@pytest.mark.parametrize("fit", [lambda w: ProductQuantizer.fit(w, 8, 3), lambda w: ResidualQuantizer.fit(w, 8, 3, 2)])
def test_a_state_gives_the_same_tensor_back(fit):
    w = weight(64, 12)
    q = fit(w).encode(w)
    tensors, metadata = q.state("fc.")
    loaded = QTensor.from_state(tensors, metadata, "fc.")
    assert loaded.shape == w.shape and torch.equal(loaded.codes, q.codes) and torch.equal(loaded.dequantize(), q.dequantize())
    assert q.nbytes == sum(t.numel() * t.element_size() for t in tensors.values())


def test_the_error_of_every_further_stage_does_not_rise():
    w = weight()
    quantizer = ResidualQuantizer.fit(w, 8, 4, stages=5)
    errors = [(ResidualQuantizer(quantizer.stages[:s]).fake(w) - w).square().mean().item() for s in range(1, 6)]
    assert errors == sorted(errors, reverse=True) and errors[4] < 0.3 * errors[0]
    assert torch.equal(ResidualQuantizer(quantizer.stages[:1]).fake(w), quantizer.stages[0].fake(w))


def test_metrics_are_block_gram_matrices():
    x = correlated_inputs()
    gram = x.T @ x
    for m, metric in enumerate(input_metrics(x, 4, 3)):
        assert torch.allclose(metric, gram[4 * m: 4 * m + 4, 4 * m: 4 * m + 4], rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 4, 12])
def test_activation_aware_lowers_the_output_error_and_may_raise_the_weight_error(dim):
    w, x = weight(), correlated_inputs()
    plain, aware = ProductQuantizer.fit(w, 16, dim), ProductQuantizer.fit(w, 16, dim, inputs=x)

    def block_error(quantizer):
        difference = column_blocks(quantizer.fake(w) - w, dim)
        return sum(((difference[m] @ g) * difference[m]).sum().item() for m, g in enumerate(input_metrics(x, dim, 12 // dim)))

    assert block_error(aware) < block_error(plain)
    output = [((q.fake(w) - w) @ x.T).square().sum() for q in (plain, aware)]
    assert output[1] < output[0]
    assert (aware.fake(w) - w).square().mean() > (plain.fake(w) - w).square().mean()


def test_codes_minimize_what_the_next_layer_sees_of_each_block():
    w, x = weight(64, 8), correlated_inputs(100, 8)
    quantizer = ProductQuantizer.fit(w, 8, 4, inputs=x)
    for m, (sub_vectors, words) in enumerate(zip(column_blocks(w, 4), quantizer.codebooks)):
        seen = (sub_vectors[:, None] - words).double() @ x[:, 4 * m: 4 * m + 4].double().T
        assert torch.equal(quantizer.encode(w).codes[:, m].long(), seen.square().sum(2).argmin(1))


def test_inputs_without_preference_give_plain_product_quantization():
    w = weight()
    plain, aware = ProductQuantizer.fit(w, 16, 4, steps=200), ProductQuantizer.fit(w, 16, 4, inputs=3 * torch.eye(12), steps=200)
    assert torch.allclose(plain.codebooks, aware.codebooks, atol=1e-6)
    assert torch.equal(plain.encode(w).codes, aware.encode(w).codes)


def test_inputs_that_are_never_used_do_not_break_the_metric():
    w, x = weight(64, 4), torch.zeros(10, 4)
    x[:, 0] = 1
    quantizer = ProductQuantizer.fit(w, 8, 4, inputs=x)
    assert quantizer.fake(w).isfinite().all()
    plain = ProductQuantizer.fit(w, 8, 4)
    assert (quantizer.fake(w) - w)[:, 0].square().sum() < 0.1 * (plain.fake(w) - w)[:, 0].square().sum()


def test_seeds_decide_the_start():
    w = weight()
    assert torch.equal(ProductQuantizer.fit(w, 8, 4, seed=1).codebooks, ProductQuantizer.fit(w, 8, 4, seed=1).codebooks)
    assert not torch.equal(ProductQuantizer.fit(w, 8, 4, seed=1).codebooks, ProductQuantizer.fit(w, 8, 4, seed=2).codebooks)


def test_an_empty_cluster_keeps_its_centroid():
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert vector_kmeans(points, torch.tensor([[0.5, 0.5], [99.0, 99.0]]))[1].tolist() == [99, 99]


def test_one_code_book_for_all_blocks_is_that_of_the_stacked_sub_vectors():
    w = weight(64, 12)
    shared, stacked = ProductQuantizer.fit(w, 8, 4, shared=True), ProductQuantizer.fit(column_blocks(w, 4).flatten(0, 1), 8, 4)
    assert shared.codebooks.shape == (1, 8, 4) and torch.equal(shared.codebooks, stacked.codebooks)
    q = shared.encode(w)
    distance = (w.reshape(64, 3, 1, 4) - shared.codebooks[0]).square().sum(3)
    assert q.codes.shape == (64, 3) and torch.equal(q.codes.long(), distance.argmin(2))
    assert torch.equal(q.dequantize()[5, 8:], shared.codebooks[0, q.codes[5, 2].long()])
    assert q.nbytes == 64 * 3 * 3 // 8 + 8 * 4 * 4
    tensors, metadata = q.state()
    assert torch.equal(QTensor.from_state(tensors, metadata).dequantize(), q.dequantize())


def test_a_shared_code_book_has_the_metric_of_all_blocks_together():
    w, x = weight(64, 12), correlated_inputs()
    quantizer = ProductQuantizer.fit(w, 8, 4, inputs=x, shared=True)
    stacked = x.reshape(-1, 4)
    assert torch.allclose(quantizer.metrics[0], stacked.T @ stacked, rtol=1e-4)
    seen = ((w.reshape(64, 3, 1, 4) - quantizer.codebooks[0]).double() @ stacked.double().T).square().sum(3)
    assert torch.equal(quantizer.encode(w).codes.long(), seen.argmin(2))


def test_shared_residual_stages_lower_the_error_and_cost_one_book_each():
    w = weight(64, 12)
    quantizers = [ResidualQuantizer.fit(w, 8, 4, stages=s, shared=True) for s in (1, 2, 3)]
    errors = [(q.fake(w) - w).square().mean().item() for q in quantizers]
    assert errors == sorted(errors, reverse=True)
    assert [q.encode(w).nbytes for q in quantizers] == [s * (64 * 3 * 3 // 8 + 8 * 4 * 4) for s in (1, 2, 3)]


@pytest.mark.parametrize("inputs", [None, correlated_inputs().double()])
def test_double_precision_is_kept(inputs):
    w = weight(64, 12).double()
    assert ProductQuantizer.fit(w, 8, 4, inputs).fake(w).dtype == torch.float64
    assert ResidualQuantizer.fit(w, 8, 4, 2).fake(w).dtype == torch.float64
