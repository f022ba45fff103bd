"""The operators and shapes of `qt bench`, each beside the peers that do the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from qtoolkit.compression.huffman import HuffmanCode
from qtoolkit.compression.pruning import prune_tiles
from qtoolkit.kernels import ops
from qtoolkit.kernels import bench_peers as peers
from qtoolkit.kernels.binary_conv import binary_conv2d
from qtoolkit.kernels.bench import Limits, Row, measure
from qtoolkit.kernels.conv import int8_conv2d as ops_conv, pack_conv
from qtoolkit.kernels.entropy import huffman_decode as entropy_decode, huffman_encode
from qtoolkit.kernels.groupwise import groupwise_linear as ops_groupwise, pack_groupwise
from qtoolkit.kernels.layer import pack_layer
from qtoolkit.kernels.reference import quantize_multiplier
from qtoolkit.kernels.relative_sparse import pack_relative_sparse, relative_sparse_linear as ops_relative
from qtoolkit.kernels.sparse import pack_sparse, sparse_linear as ops_sparse
from qtoolkit.kernels.table import pack_binary, pack_codebook, pack_ternary, table_linear as ops_table
from qtoolkit.kernels.tile_sparse import int8_tile_sparse_linear as ops_tiles, pack_tile_sparse

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


def int8_conv(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """3x3 convolutions, int8 to int8, against ONNX Runtime's QLinearConv and torch's float convolution."""
    generator = torch.Generator().manual_seed(0)
    for channels, size in [(64, 56), (128, 28), (256, 14)]:
        x = _codes(generator, 1, channels, size, size).contiguous(memory_format=torch.channels_last)
        weight = _codes(generator, channels, channels, 3, 3)
        multiplier, shift = quantize_multiplier(torch.tensor(2.0**-10 / channels))
        layer = pack_conv(weight, multiplier=multiplier, shift=shift)
        yield measure("int8 conv 3x3", f"C{channels} H{size}", lambda: ops_conv(x, layer, channels, [3, 3], [1, 1], [1, 1], [1, 1]),
                      peers.conv(x, weight), lambda: limits.matrix_product_us(size * size, channels, 9 * channels, weight.numel(),
                                                                              torch.get_num_threads()), seconds)


def depthwise(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """Depthwise convolutions, int8 to int8, against the same peers; the limit counts products alone."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(64, 56, 3, 1), (128, 28, 3, 1), (256, 14, 3, 1), (96, 112, 3, 2), (144, 56, 5, 2), (240, 28, 5, 1)]
    for channels, size, kernel, stride in shapes[1:2] if quick else shapes:
        x = _codes(generator, 1, channels, size, size).contiguous(memory_format=torch.channels_last)
        weight, pad = _codes(generator, channels, 1, kernel, kernel), kernel // 2
        multiplier, shift = quantize_multiplier(torch.tensor(2.0**-10))
        layer = pack_conv(weight, groups=channels, multiplier=multiplier, shift=shift)
        geometry = [kernel] * 2, [stride] * 2, [pad] * 2, [1, 1], channels
        yield measure(f"int8 depthwise {kernel}x{kernel}", f"C{channels} H{size} stride {stride}", lambda: ops_conv(x, layer, channels, *geometry),
                      peers.conv(x, weight, stride, channels),
                      lambda: limits.matrix_product_us((size // stride) ** 2, channels, kernel**2, weight.numel(),
                                                       torch.get_num_threads()), seconds)


def whole_networks(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """LeNet-300-100 and LeNet-5, float in, float out, one plan call, against float torch and ONNX Runtime's static int8."""
    from qtoolkit.layers.int8 import static_int8

    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)).eval()
    convolved = nn.Sequential(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                              nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)).eval()
    products = {"LeNet-300-100": 266_200, "LeNet-5": 576 * 500 + 64 * 25_000 + 405_000}    # of one image
    for (name, each), model, shape in zip(products.items(), (dense, convolved), ((784,), (1, 28, 28))):
        network = static_int8(model, torch.rand(256, *shape))
        for batch in (1, 64):
            x = torch.rand(batch, *shape)
            yield measure(f"{name} plan", f"batch {batch}", lambda: ops.int8_plan(x, network.plan, 10), peers.network(model, x),
                          lambda: limits.matrix_product_us(batch, 1, each, network.plan.numel(), torch.get_num_threads()), seconds)


def groupwise_linear(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """4-bit weights, float in and out, against ONNX Runtime's MatMulNBits and torch's float layers."""
    generator = torch.Generator().manual_seed(0)
    for m, k, n, group in [(1, 1024, 1024, 128), (1, 4096, 4096, 128), (1, 4096, 4096, 32)]:
        x, weight = torch.randn(m, k, generator=generator), torch.randint(-8, 8, (n, k), generator=generator, dtype=torch.int8)
        scale = torch.rand(n, k // group, generator=generator) + 0.1
        layer = pack_groupwise(weight, scale, group=group)
        yield measure(f"W4A8 linear, groups of {group}", f"{m}x{k}x{n}", lambda: ops_groupwise(x, layer, n),
                      peers.matmul_nbits(x, weight, scale, group) | peers.float_linear(x, weight),
                      lambda: limits.matrix_product_us(m, n, k, layer.numel(), torch.get_num_threads()), seconds)


def table_linear(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """Binary and 16-entry codebook weights against float layers; binary is held against the peak of counting signs."""
    generator = torch.Generator().manual_seed(0)
    for m, k, n in [(1, 4096, 4096), (8, 1024, 1024), (64, 1024, 1024)]:
        x, weight = torch.randn(m, k, generator=generator), torch.randn(n, k, generator=generator)
        layer = pack_binary(weight)
        yield measure("binary linear", f"{m}x{k}x{n}", lambda: ops_table(x, layer, n), peers.float_linear(x, weight),
                      lambda: limits.matrix_product_us(m, n, k, layer.numel(), torch.get_num_threads(), "signs"), seconds)
    x = torch.randn(1, 4096, generator=generator)
    indices = torch.randint(0, 16, (4096, 4096), generator=generator)
    coded = pack_codebook(indices, torch.randn(16, generator=generator))
    yield measure("16-entry codebook linear", "1x4096x4096", lambda: ops_table(x, coded, 4096), peers.float_linear(x, indices),
                  lambda: 1e6 * max(4096 * 4096 / limits.get("float"), coded.numel() / limits.get("read", coded.numel())), seconds)


def sign_layers(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """Ternary weights, and convolutions of signs, held against the peak of counting signs; their int8 and float peers do more."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(64, 1024, generator=generator), torch.randint(-1, 2, (1024, 1024), generator=generator).float()
    layer = pack_ternary(weight)
    yield measure("ternary linear", "64x1024x1024", lambda: ops_table(x, layer, 1024), peers.float_linear(x, weight),
                  lambda: limits.matrix_product_us(64, 1024, 1024, layer.numel(), torch.get_num_threads(), "signs"), seconds)
    for channels, size in [(64, 56), (256, 14)]:
        codes = _codes(generator, 1, channels, size, size).contiguous(memory_format=torch.channels_last)
        images, kernel = codes.float(), _codes(generator, channels, channels, 3, 3)
        coded = pack_binary(kernel.float())
        yield measure("binary conv 3x3", f"C{channels} H{size}",
                      lambda: binary_conv2d(images, coded, channels, [3, 3], [1, 1], [1, 1], [1, 1]), peers.conv(codes, kernel),
                      lambda: limits.matrix_product_us(size * size, channels, 9 * channels, coded.numel(), torch.get_num_threads(), "signs"),
                      seconds)


def sparse_linear(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """CSR at 10 % density, one row and 64, against scipy, torch's sparse CSR and dense float32."""
    generator = torch.Generator().manual_seed(0)
    for m, k, n in [(1, 1024, 1024), (64, 1024, 1024), (1, 4096, 4096)]:
        weight = torch.randn(n, k, generator=generator) * (torch.rand(n, k, generator=generator) < 0.1)
        x, layer = torch.randn(m, k, generator=generator), pack_sparse(weight)
        yield measure("CSR linear, 10 %", f"{m}x{k}x{n}", lambda: ops_sparse(x, layer, n), peers.sparse(x, weight) | peers.float_linear(x, weight),
                      lambda: 1e6 * max(m * n * k / 10 / limits.get("float"), layer.numel() / limits.get("read", layer.numel())), seconds)


def relative_sparse_linear(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """Relative index and 255 shared values at 10 % density, 2 bytes a weight, against the same peers, which read 8."""
    generator = torch.Generator().manual_seed(0)
    codebook = torch.cat([torch.zeros(1), torch.randn(255, generator=generator)])
    for m, k, n in [(1, 784, 304), (1, 1024, 1024), (64, 1024, 1024), (1, 4096, 4096)][2 * quick :]:
        codes = torch.randint(1, 256, (n, k), generator=generator) * (torch.rand(n, k, generator=generator) < 0.1)
        x, layer, weight = torch.randn(m, k, generator=generator), pack_relative_sparse(codes, codebook), codebook[codes]
        yield measure("relative index linear, 10 %", f"{m}x{k}x{n}", lambda: ops_relative(x, layer, n), peers.sparse(x, weight) | peers.float_linear(x, weight),
                      lambda: 1e6 * max(m * n * k / 10 / limits.get("float"), layer.numel() / limits.get("read", layer.numel())), seconds)


def tile_sparse_linear(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """int8 weights of which 10 % of the tiles are kept, against dense layers (ours among them) and CSR of as many weights."""
    generator = torch.Generator().manual_seed(0)
    multiplier, shift = quantize_multiplier(torch.tensor(2.0**-12))
    for m, k, n in [(1, 1024, 1024), (64, 1024, 1024), (1, 4096, 4096)][2 * quick :]:
        x, weight = _codes(generator, m, k), prune_tiles(_codes(generator, n, k), 0.1)
        dense, layer = (pack(weight, multiplier=multiplier, shift=shift) for pack in (pack_layer, pack_tile_sparse))
        ours_dense = {"our int8 linear": lambda: ops.int8_linear(x, dense, n)}
        yield measure("tile-sparse int8, 10 %", f"{m}x{k}x{n}", lambda: ops_tiles(x, layer, n),
                      ours_dense | peers.linear(x, weight) | peers.sparse(x.float(), weight.float()),
                      lambda: limits.matrix_product_us(m, n, k / 10, layer.numel(), torch.get_num_threads()), seconds)


def huffman_decode(limits: Limits, seconds: float, quick: bool) -> Iterator[Row]:
    """A million symbols of three kinds against zlib's Huffman coder and zstd; the limit is that of writing the symbols."""
    for name, symbols in peers.symbol_streams(1 << 20):
        code = HuffmanCode.fit(torch.bincount(symbols.long()).numpy())
        lengths = torch.from_numpy(code.lengths)
        stream = huffman_encode(symbols, lengths)
        yield measure("Huffman decode", name, lambda: entropy_decode(stream, lengths, symbols.numel()), peers.entropy(symbols),
                      lambda: 1e6 * symbols.numel() * 2 / limits.get("read", 1 << 14), seconds)


ROWS: list[Callable[[Limits, float, bool], Iterator[Row]]] = [
    int8_linear, dynamic_linear, int8_conv, depthwise, whole_networks, groupwise_linear, table_linear, sign_layers, sparse_linear,
    relative_sparse_linear, tile_sparse_linear, huffman_decode]
