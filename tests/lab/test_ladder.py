"""The measurements of the chapter on kernels: what is recorded, what the fallback shows, and the helper that shows C++."""

import pytest
import torch

from qtoolkit.kernels import info, ops
from qtoolkit.kernels.plan import unpack_plan
from qtoolkit.lab import ladder, results
from qtoolkit.lab.native_source import native_source

LISTS = {"rungs", "batches", "fewer_bits", "tiles", "one_call"}


def test_the_loops_are_the_product():
    assert ladder.python_product([[1, -2, 3], [0, 1, 0]], [[1, 1, 1], [2, 0, -1]]) == [[2, -1], [1, 0]]


def test_the_recorded_file_has_every_part():
    recorded = results.load(ladder.NAME)
    assert set(ladder.PARTS) <= set(recorded) and recorded["provenance"]["date"]
    assert all(row["us"] > 0 for name in LISTS for row in recorded[name])
    assert recorded["limits"]["isa"] in recorded["limits"]["int8"] and set(recorded["limits"]["read"]) == set(ladder.WORKING_SETS)


def test_the_record_of_sparse_layers_has_every_part():
    rows = results.load(ladder.SPARSE_NAME)["sparse_or_dense"]
    for n in (1024, 4096):
        of_size = {row["name"]: row["us"] for row in rows if row["n"] == n}
        assert {"dense float32", "dense int8", "CSR, 2 in 100 kept", "CSR, 10 in 100 kept"} <= set(of_size)
        assert of_size["CSR, 2 in 100 kept"] < of_size["CSR, 10 in 100 kept"] < of_size["dense float32"]


def test_the_fallback_shows_the_recorded_files_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(ladder, "info", lambda: {"native": False})
    for part, name in (("rungs", ladder.NAME), ("sparse_or_dense", ladder.SPARSE_NAME)):
        assert ladder.part(part) == results.load(name)[part]
        assert "recorded" in capsys.readouterr().out


@pytest.mark.skipif(not info()["native"], reason="needs the compiled kernels")
def test_every_instruction_set_of_this_machine_has_a_rung():
    rows = ladder.rungs(seconds=0.01)
    assert len(rows) == 4 + len(set(info()["isas_available"]) - {"tiles"}) and all(row["gmacs"] > 0 for row in rows)
    assert rows[1]["intensity"] * 4 == pytest.approx(rows[-1]["intensity"], abs=0.01)  # 32 bits move four times the bytes


def test_layers_one_by_one_are_the_plan():
    plan, x = ladder.lenet_plan(), torch.rand(5, 784, generator=torch.Generator().manual_seed(2))
    parts = unpack_plan(plan)
    assert torch.equal(ladder.one_by_one(x, parts.scale, parts.zero_point, parts.stages), ops.int8_plan(x, plan, 10))


@pytest.mark.skipif(not info()["native"], reason="needs the compiled kernels")
def test_fewer_tiles_take_less_time_in_the_recorded_file():
    for batch in (1, 64):
        times = [row["us"] for row in results.load(ladder.NAME)["tiles"] if row["batch"] == batch]
        assert len(times) == 5 and times == sorted(times, reverse=True)


def test_the_opening_and_one_function_of_a_file():
    opening = native_source("gemm_tile.h")
    assert opening.startswith("// The heart") and all(line.startswith("//") for line in opening.splitlines())
    step = native_source("gemm_tile.h", "static inline void step(")
    assert step.count("{") == step.count("}") and "Simd::dot" in step
    with pytest.raises(ValueError, match="no line"):
        native_source("gemm_tile.h", "no such function")
