"""The operators and shapes of `qt bench`, each beside the peers that do the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from qtoolkit.kernels import ops
from qtoolkit.kernels import bench_peers as peers
from qtoolkit.kernels.bench import Limits, Row, measure
from qtoolkit.kernels.layer import pack_layer
from qtoolkit.kernels.reference import quantize_multiplier

GEMM_SHAPES = [(1, 784, 300), (8, 784, 300), (64, 784, 300), (256, 784, 300), (1, 1024, 1024), (8, 1024, 1024), (64, 1024, 1024),
               (256, 1024, 1024), (1, 4096, 4096), (8, 4096, 4096), (64, 4096, 4096), (256, 4096, 4096)]
QUICK_SHAPES = [(1, 784, 300), (64, 784, 300), (8, 1024, 1024), (1, 4096, 4096)]


def _codes(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)


def int8_linear(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """int8 in, int8 out with requantization, against every int8 matrix product and float layer at hand."""
    generator = torch.Generator().manual_seed(0)
    for m, k, n in QUICK_SHAPES if quick else GEMM_SHAPES:
        x, weight = _codes(generator, m, k), _codes(generator, n, k)
        multiplier, shift = quantize_multiplier(torch.tensor(2.0**-7 / k))
        layer = pack_layer(weight, multiplier=multiplier, shift=shift)
        yield measure("int8 linear", f"{m}x{k}x{n}", lambda: ops.int8_linear(x, layer, n), peers.linear(x, weight),
                      lambda: limits.matrix_product_us(m, n, k, n * k, torch.get_num_threads()), seconds)


def dynamic_linear(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """float in, float out, int8 inside, against float layers and torch's dynamic quantization."""
    generator = torch.Generator().manual_seed(0)
    for m, k, n in QUICK_SHAPES if quick else [(1, 1024, 1024), (64, 1024, 1024), (1, 4096, 4096), (64, 4096, 4096)]:
        x, weight = torch.randn(m, k, generator=generator), _codes(generator, n, k)
        layer = pack_layer(weight, scale=torch.tensor(0.01))
        yield measure("int8 dynamic linear", f"{m}x{k}x{n}", lambda: ops.int8_dynamic_linear(x, layer, n),
                      peers.float_linear(x, weight) | peers.dynamic_linear(x, weight),
                      lambda: limits.matrix_product_us(m, n, k, n * k, torch.get_num_threads()), seconds)


def lenet_300_100(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """A whole network, float in, float out, one plan call, against float torch and ONNX Runtime's static int8."""
    from qtoolkit.layers.int8 import static_int8

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)).eval()
    weights = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    network = static_int8(model, torch.rand(256, 784))
    for batch in (1, 64):
        x = torch.rand(batch, 784)
        yield measure("LeNet-300-100 plan", f"batch {batch}", lambda: ops.int8_plan(x, network.plan, 10), peers.network(model, x),
                      lambda: limits.matrix_product_us(batch, 1, weights, weights, torch.get_num_threads()), seconds)


ROWS: list[Callable[[Limits, float, bool], Iterator[Row]]] = [int8_linear, dynamic_linear, lenet_300_100]
