"""Chapter 12's measurements: the same product from a Python loop up to the compiled kernel, on this machine's own roofline.

Every part is a function that takes a few seconds; where the kernels are not compiled, `parts` hands out the recorded file instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from qtoolkit.compression.pruning import prune_tiles
from qtoolkit.kernels import bench, groupwise, info, ops, sparse, table
from qtoolkit.kernels._lib import use_isa
from qtoolkit.kernels.layer import pack_layer
from qtoolkit.kernels.plan import unpack_plan
from qtoolkit.kernels.reference import quantize_multiplier
from qtoolkit.kernels.roofline import linear_work
from qtoolkit.kernels.tile_sparse import int8_tile_sparse_linear, pack_tile_sparse
from qtoolkit.layers.int8 import static_int8
from qtoolkit.lab import results

NAME, SPARSE_NAME = "kernel-ladder", "compressed-rows"
WORKING_SETS = {"16 KiB": 1 << 14, "256 KiB": 1 << 18, "1 MiB": 1 << 20, "16 MiB": 1 << 24, "128 MiB": 1 << 27}
SHAPE = (64, 1024, 1024)
ISAS = {"scalar": "plain C++", "neon": "NEON", "avx2": "AVX2", "avxvnni": "AVX-VNNI", "avx512vnni": "AVX-512 VNNI",
        "avx512": "AVX-512 VNNI and popcount", "amx": "AMX tiles", "tiles": "tiles in plain loops"}


def python_product(x: list[list[int]], w: list[list[int]]) -> list[list[int]]:
    """sum_k x_mk w_nk with three loops, the definition.

    >>> python_product([[1, 2]], [[3, 4], [5, 6]])
    [[11, 17]]

    See: book/chapters/12-inside-a-kernel.ipynb#the-bottom-rung
    """
    y = [[0] * len(w) for _ in x]
    for m in range(len(x)):
        for n in range(len(w)):
            for k in range(len(x[m])):
                y[m][n] += x[m][k] * w[n][k]
    return y


def limits() -> dict:
    """The machine's limits on one thread: peaks in G multiply-adds a second, bandwidths in GB/s by working set.

    Raises RuntimeError where the kernels are not compiled.
    See: book/chapters/12-inside-a-kernel.ipynb#the-roofline
    """
    bench.require_native()
    seen = bench.Limits()
    peaks = {}
    for isa in dict.fromkeys([*_isas(), info()["isa"]]):
        with use_isa(isa):
            peaks[isa] = round(bench.Limits().get("int8") / 1e9, 1)
    return {
        "isa": info()["isa"], "int8": peaks, "float": round(seen.get("float") / 1e9, 1),
        "read": {name: round(seen.get("read", size) / 1e9, 1) for name, size in WORKING_SETS.items()},
    }


def rungs(seconds: float = 1.5) -> list[dict]:
    """The ladder: one row for each way to multiply, with its shape, microseconds and G multiply-adds a second."""
    bench.require_native()
    rows = [_python_rung()]
    m, k, n = SHAPE
    x, weight, layer = example(m, k, n)
    wide, wide_weight, real, real_weight = x.int(), weight.int().T, x.float(), weight.float()
    runs: dict[str, Callable[[], object]] = {"torch int32": lambda: wide @ wide_weight,
                                             "torch float32": lambda: torch.nn.functional.linear(real, real_weight),
                                             "torch int8 (_int_mm)": lambda: torch._int_mm(x, weight.T)}
    for isa in _isas():
        runs[f"int8, {ISAS[isa]}"] = partial(_with_isa, isa, lambda: ops.int8_linear(x, layer, n))
    return rows + [_row(name, SHAPE, us, 8 if "int8" in name else 32) for name, us in fastest(runs, seconds).items()]


def batches(seconds: float = 1.0) -> list[dict]:
    """The int8 operator on a 1024 x 1024 layer, from 1 row to 256."""
    bench.require_native()
    rows, (_, k, n) = [], SHAPE
    prepared = {m: example(m, k, n) for m in (1, 2, 4, 8, 16, 64, 256)}
    runs = {str(m): partial(ops.int8_linear, x, layer, n) for m, (x, _, layer) in prepared.items()}
    for name, us in fastest(runs, seconds).items():
        rows.append(_row(f"batch {name}", (int(name), k, n), us, 8))
    return rows


def fewer_bits(seconds: float = 1.5) -> list[dict]:
    """One row times a 4096 x 4096 layer, real in and real out, its weights of 32 bits down to 1; bytes as stored."""
    bench.require_native()
    generator, (m, k, n) = torch.Generator().manual_seed(0), (1, 4096, 4096)
    x, weight = torch.randn(m, k, generator=generator), torch.randn(n, k, generator=generator)
    codes = torch.randint(-127, 128, (n, k), generator=generator, dtype=torch.int8)
    layers = {
        "float32": weight,
        "int8": pack_layer(codes, scale=torch.tensor(0.01)),
        "4 bits, groups of 128": groupwise.pack_groupwise(codes >> 4, torch.ones(n, k // 128)),
        "2 bits, groups of 128": groupwise.pack_groupwise((codes >> 6).clamp(-2, 1), torch.ones(n, k // 128), bits=2),
        "1 bit (signs of inputs too)": table.pack_binary(weight),
    }
    calls = [torch.nn.functional.linear, ops.int8_dynamic_linear, groupwise.groupwise_linear, groupwise.groupwise_linear, table.table_linear]
    runs = {name: partial(call, x, layer, *([] if name == "float32" else [n])) for (name, layer), call in zip(layers.items(), calls)}
    times = fastest(runs, seconds)
    return [{"name": name, "shape": [m, k, n], "us": round(times[name], 1), "nbytes": layer.numel() * layer.element_size()}
            for name, layer in layers.items()]


def sparse_or_dense(seconds: float = 2.0) -> list[dict]:
    """One row times a layer of 1024 x 1024 and one of 4096 x 4096 weights: dense against compressed rows, real in and real out."""
    bench.require_native()
    rows = []
    for n, densities in ((1024, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)), (4096, (0.02, 0.1))):
        generator = torch.Generator().manual_seed(0)
        x, weight, keep = torch.randn(1, n, generator=generator), torch.randn(n, n, generator=generator), torch.rand(n, n, generator=generator)
        dense = pack_layer(_codes(generator, n, n), scale=torch.tensor(0.01))
        runs = {"dense float32": partial(torch.nn.functional.linear, x, weight), "dense int8": partial(ops.int8_dynamic_linear, x, dense, n)}
        for density in densities:
            runs[f"CSR, {100 * density:g} in 100 kept"] = partial(sparse.sparse_linear, x, sparse.pack_sparse(weight * (keep < density)), n)
        rows += [{"name": name, "n": n, "us": round(us, 2)} for name, us in fastest(runs, seconds / 2).items()]
    return rows


def tiles(seconds: float = 1.5) -> list[dict]:
    """One row and 64 rows times a 1024 x 1024 layer, int8 in and int8 out: dense, and with some of its tiles of 16 x 4 kept."""
    bench.require_native()
    rows = []
    for m in (1, 64):
        x, weight, dense = example(m, *SHAPE[1:])
        n = len(weight)
        runs = {"dense": partial(ops.int8_linear, x, dense, n)}
        for density in (0.5, 0.2, 0.1, 0.05):
            layer = pack_example(prune_tiles(weight, density), pack_tile_sparse)
            runs[f"{100 * density:g} tiles in 100 kept"] = partial(int8_tile_sparse_linear, x, layer, n)
        rows += [{"name": name, "batch": m, "us": round(us, 2)} for name, us in fastest(runs, seconds / 2).items()]
    return rows


def lenet_plan() -> Tensor:
    """LeNet-300-100 with random weights as the bytes of one int8 plan; times do not depend on the weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = (784, 300, 100, 10)
        layers = [part for k, n in zip(sizes, sizes[1:]) for part in (nn.Linear(k, n), nn.ReLU())][:-1]
        return static_int8(nn.Sequential(*layers).eval(), torch.rand(256, sizes[0])).plan


def one_by_one(x: Tensor, scale: float, zero_point: int, layers: list[Tensor], sizes: tuple[int, ...] = (300, 100, 10)) -> Tensor:
    """Quantization and packed linear layers of these output sizes, one call each: what `ops.int8_plan` does in one, bit for bit.

    See: book/chapters/12-inside-a-kernel.ipynb#a-network-in-one-call
    """
    codes = ops.quantize_int8(x, scale, zero_point)
    for layer, n in zip(layers[:-1], sizes):
        codes = ops.int8_linear(codes, layer, n)
    return ops.int8_linear_float(codes, layers[-1], sizes[-1])


def one_call(seconds: float = 1.0) -> list[dict]:
    """LeNet-300-100, one image and 64: its quantization and layers called one by one, and as a plan in one call."""
    bench.require_native()
    plan, rows = lenet_plan(), []
    parts = unpack_plan(plan)
    for m in (1, 64):
        x = torch.rand(m, 784, generator=torch.Generator().manual_seed(0))
        runs = {"four calls": partial(one_by_one, x, parts.scale, parts.zero_point, parts.stages), "one call": partial(ops.int8_plan, x, plan, 10)}
        rows += [{"name": name, "batch": m, "us": round(us, 2)} for name, us in fastest(runs, seconds / 2).items()]
    return rows


PARTS = {"limits": limits, "rungs": rungs, "batches": batches, "fewer_bits": fewer_bits, "tiles": tiles, "one_call": one_call}
SPARSE_PARTS = {"sparse_or_dense": sparse_or_dense}  # a record of its own, since their kernel is younger


def part(name: str):
    """One part measured now, or, where the kernels are not compiled, from the recorded file, saying so."""
    if info()["native"]:
        return (PARTS | SPARSE_PARTS)[name]()
    print("The kernels are not compiled here. These numbers are recorded ones, of another machine.")
    return results.load(SPARSE_NAME if name in SPARSE_PARTS else NAME)[name]


def machine() -> str:
    """The processor whose numbers `part` gives."""
    return results.cpu_name() if info()["native"] else results.load(NAME)["provenance"]["cpu"]


def reproduce() -> Path:
    """Measure all parts but the sparse ones on one thread and record them: `qt reproduce kernel-ladder`."""
    return _record(NAME, PARTS)


def reproduce_sparse() -> Path:
    """The same for the sparse ones: `qt reproduce compressed-rows`."""
    return _record(SPARSE_NAME, SPARSE_PARTS)


def _record(name: str, parts: dict[str, Callable[[], object]]) -> Path:
    with bench.threads(1), torch.inference_mode():
        return results.record(name, {part: measure() for part, measure in parts.items()}, seed=0)


def fastest(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Minimum microseconds of each, taking turns on one thread."""
    with bench.threads(1), torch.inference_mode():
        return {name: timing.min_us for name, timing in bench.compare(runs, seconds).items()}


def _isas() -> list[str]:
    """The instruction sets of `ISAS` that this machine has, without the model of a matrix unit, which is no rung."""
    return [name for name in ISAS if name in info()["isas_available"] and name != "tiles"]


def _with_isa(isa: str, run: Callable[[], object]) -> None:
    with use_isa(isa):
        run()


def _codes(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)


def example(m: int, k: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """(inputs (M, K), weight (N, K), packed layer) of one shape, int8 codes of a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    x, weight = _codes(generator, m, k), _codes(generator, n, k)
    return x, weight, pack_example(weight)


def pack_example(weight: Tensor, pack: Callable[..., Tensor] = pack_layer) -> Tensor:
    """The layer of a weight (N, K), scaled so that its results are codes of the usual size."""
    multiplier, shift = quantize_multiplier(torch.tensor(2.0**-7 / weight.shape[1]))
    return pack(weight, multiplier=multiplier, shift=shift)


def _python_rung(shape: tuple[int, int, int] = (4, 32, 16)) -> dict:
    x, weight, _ = example(*shape)
    lists, least = (x.tolist(), weight.tolist()), float("inf")
    for _ in range(20):
        start = time.perf_counter()
        python_product(*lists)
        least = min(least, time.perf_counter() - start)
    return _row("Python, three loops", shape, least * 1e6, 8)


def _row(name: str, shape: tuple[int, int, int], us: float, bits: int) -> dict:
    work = linear_work(*shape, bits, bits)
    return {"name": name, "shape": list(shape), "us": round(us, 2), "gmacs": float(f"{work.multiply_adds / us / 1e3:.3g}"),
            "intensity": round(work.intensity, 3)}
