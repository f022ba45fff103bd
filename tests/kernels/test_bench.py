"""The benchmark's machinery on tiny budgets: what it reports, not how fast anything is."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from qtoolkit import kernels
from qtoolkit.kernels import bench

native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")


def test_contenders_take_turns():
    calls = []
    times = bench.compare({"a": lambda: calls.append("a"), "b": lambda: [calls.append("b") for _ in range(500)]}, seconds=0.0, least_runs=3)
    assert set(times) == {"a", "b"} and times["a"].min_us <= times["a"].median_us and times["b"].runs >= 3
    order = [calls[0]] + [now for before, now in zip(calls, calls[1:]) if now != before]
    assert order == ["a", "b"] * 4  # a warm-up round and three timed ones
    with pytest.raises(ValueError, match="contenders"):
        bench.compare({})


@native
def test_models_are_compared_with_the_first_one_at_every_batch_and_thread_count():
    before = torch.get_num_threads()
    models = {"float": nn.Linear(4, 4), "same": nn.Linear(4, 4)}
    rows = bench.compare_models(models, torch.rand(3, 4), batches=(1, 5), thread_counts=(1, 2), seconds=0.0)
    assert [(row["threads"], row["batch"], row["model"]) for row in rows] == [
        (t, b, m) for t in (1, 2) for b in (1, 5) for m in ("float", "same")]
    assert all(row["speedup"] == 1.0 for row in rows if row["model"] == "float")
    assert torch.get_num_threads() == before


@native
def test_limits_have_plausible_sizes():
    limits = bench.Limits()
    assert limits.get("int8") > limits.get("float") / 4 > 1e8
    assert limits.get("read", 1 << 14) > 1e9
    assert limits.matrix_product_us(64, 1024, 1024, 1 << 20) > limits.matrix_product_us(1, 1024, 1024, 1 << 20) > 0


@native
def test_json_has_the_promised_keys(tmp_path):
    row = bench.measure("double", "1", lambda: None, {"peer": lambda: sum(range(500))}, lambda: 0.01, seconds=0.0)
    assert row.best_peer == "peer" and row.ratio > 1
    bench.write_json(tmp_path / "rows.json", [row])
    read = json.loads((tmp_path / "rows.json").read_text())["rows"][0]
    assert {"op", "shape", "threads", "ours_us", "best_peer", "best_peer_us", "ratio", "limit_us", "efficiency"} <= set(read)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_the_fallback_is_never_timed(tmp_path):
    code = "from qtoolkit.kernels import bench; bench.main(quick=True)"
    environment = os.environ | {"QTOOLKIT_LIBRARY": str(tmp_path / "missing.so"), "QTOOLKIT_REQUIRE_NATIVE": "0"}
    environment.pop("QTOOLKIT_ISA", None)
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1 and "refusing to time the torch fallback" in process.stderr


@native
def test_every_peer_of_the_quick_rows_computes_something():
    pytest.importorskip("onnxruntime")
    from qtoolkit.kernels import bench_peers

    x = torch.randint(-127, 128, (8, 64), dtype=torch.int8)
    found = bench_peers.linear(x, torch.randint(-127, 128, (32, 64), dtype=torch.int8))
    assert {"torch float32", "torch bfloat16", "torch._int_mm", "ORT float32", "ORT MatMulInteger", "ORT QLinearMatMul"} <= set(found)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    assert set(bench_peers.network(model, torch.rand(2, 16))) == {"torch float32", "ORT float32", "ORT int8 static"}


def test_the_other_peers_compute_something():
    pytest.importorskip("onnxruntime")
    from qtoolkit.kernels import bench_peers

    weight = torch.randint(-8, 8, (32, 64), dtype=torch.int8)
    assert "ORT MatMulNBits" in bench_peers.matmul_nbits(torch.randn(1, 64), weight, torch.ones(32, 2), 32)
    assert {"torch sparse CSR", "scipy CSR"} <= set(bench_peers.sparse(torch.randn(4, 64), weight.float().relu()))
    image, filters = torch.zeros(1, 8, 9, 9, dtype=torch.int8), torch.ones(4, 8, 3, 3, dtype=torch.int8)
    assert set(bench_peers.conv(image, filters)) == {"torch float32", "ORT float32", "ORT QLinearConv"}
    assert "torch quantized.linear_dynamic" in bench_peers.dynamic_linear(torch.randn(4, 64), weight)
    assert all("zlib Huffman" in bench_peers.entropy(symbols) for _, symbols in bench_peers.symbol_streams(1000))
