"""What changes where one instruction multiplies two tiles: recorded by `qt reproduce matrix-unit` on a processor with AMX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from qtoolkit.compression.pruning import prune_tiles
from qtoolkit.kernels import bench, info, ops, table, use_isa
from qtoolkit.kernels._lib import library
from qtoolkit.kernels.layer import pack_layer
from qtoolkit.kernels.tile_sparse import int8_tile_sparse_linear, pack_tile_sparse
from qtoolkit.lab import results
from qtoolkit.lab.ladder import ISAS, SHAPE, example, fastest, pack_example

NAME = "matrix-unit"
VECTOR, UNIT = "avx512", "amx"


def require_unit() -> None:
    """Raise RuntimeError, saying what there is, on a machine without a matrix unit."""
    if UNIT not in info()["isas_available"]:
        raise RuntimeError(f"{NAME} measures a matrix unit, and this machine has none (instruction sets: "
                           f"{', '.join(info()['isas_available']) or 'none, the kernels are not compiled'}); run it on a processor with AMX")


def _on(isa: str, run: Callable[[], object]) -> None:
    """Run with an instruction set, chosen by one plain call: `use_isa` would cost as much as a small layer."""
    library.qk_use_isa(isa.encode())
    run()


def peaks() -> dict[str, float]:
    """G multiply-adds a second of registers alone: bytes by vectors, bytes by tiles, signs by counting, float32."""
    found = {}
    for isa in (VECTOR, UNIT):
        with use_isa(isa):
            found[ISAS[isa]] = bench.Limits().get("int8")
    found |= {"signs, exclusive or and count": bench.Limits().get("signs"), "float32": bench.Limits().get("float")}
    return {name: round(rate / 1e9, 1) for name, rate in found.items()}


def batches(seconds: float = 4.0) -> list[dict]:
    """Microseconds of the int8 operator on 1024 x 1024 weights, for some numbers of rows, by vectors and by tiles."""
    _, k, n = SHAPE
    prepared = {m: example(m, k, n) for m in (1, 2, 3, 4, 8, 12, 16, 32, 64, 256)}
    runs = {(m, isa): partial(_on, isa, partial(ops.int8_linear, x, layer, n))
            for m, (x, _, layer) in prepared.items() for isa in (VECTOR, UNIT)}
    times = fastest(runs, seconds)
    return [{"rows": m, "vectors_us": round(times[m, VECTOR], 2), "tiles_us": round(times[m, UNIT], 2)} for m in prepared]


def roads(seconds: float = 3.0) -> list[dict]:
    """64 rows by 1024 x 1024 weights: float32, bytes, signs, bytes of which a tenth of the 16 x 4 tiles is kept, and bytes of 0 alone."""
    m, k, n = SHAPE
    x, weight, layer = example(m, k, n)
    real, real_weight = x.float(), weight.float()
    signs = table.pack_binary(real_weight)
    tenth = pack_example(prune_tiles(weight, 0.1), pack_tile_sparse)
    nothing = pack_layer(torch.zeros_like(weight), multiplier=torch.tensor(2**30, dtype=torch.int32), shift=torch.tensor(40, dtype=torch.int32))
    runs = {
        "float32 (torch)": partial(torch.nn.functional.linear, real, real_weight),
        "int8 by vectors": partial(_on, VECTOR, partial(ops.int8_linear, x, layer, n)),
        "int8 by tiles": partial(_on, UNIT, partial(ops.int8_linear, x, layer, n)),
        "int8 by tiles, all weights 0": partial(_on, UNIT, partial(ops.int8_linear, x, nothing, n)),
        "int8, a tenth of the 16 x 4 tiles kept": partial(int8_tile_sparse_linear, x, tenth, n),
        "signs by vectors": partial(_on, VECTOR, partial(table.table_linear, real, signs, n)),
        "signs by tiles": partial(_on, UNIT, partial(table.table_linear, real, signs, n)),
    }
    return [{"name": name, "us": round(us, 2)} for name, us in fastest(runs, seconds).items()]


def reproduce() -> Path:
    """Measure all parts on one thread and record them: `qt reproduce matrix-unit`."""
    require_unit()
    with bench.threads(1), torch.inference_mode(), use_isa(UNIT):  # which puts back what was in use
        return results.record(NAME, {"peaks": peaks(), "batches": batches(), "roads": roads()}, seed=0)
