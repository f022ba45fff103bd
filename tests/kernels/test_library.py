"""Finding, forcing and missing the compiled library; its thread pool under several callers and fork."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from qtoolkit import kernels
from qtoolkit.kernels import ops, portable
from qtoolkit.kernels.layer import pack_layer

native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")


def fresh(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `code` in a new interpreter."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("QTOOLKIT_ISA", "QTOOLKIT_REQUIRE_NATIVE")}
    return subprocess.run([sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, timeout=120)


@native
def test_the_forced_instruction_set_is_used():
    code = "import json; from qtoolkit import kernels; print(json.dumps(kernels.info()))"
    info = json.loads(fresh(code, QTOOLKIT_ISA="scalar").stdout)
    assert info["isa"] == "scalar" and info["native"] and "scalar" in info["isas_available"]


@native
def test_an_unknown_instruction_set_is_an_error_that_lists_the_others():
    process = fresh("import qtoolkit.kernels", QTOOLKIT_ISA="avx1024")
    assert process.returncode == 1 and "avx1024" in process.stderr and "scalar" in process.stderr
    with pytest.raises(ValueError, match="scalar"), kernels.use_isa("mmx"):
        pass


def test_without_a_library_the_reference_runs_and_says_so(tmp_path):
    code = ("import torch; from qtoolkit import kernels; from qtoolkit.kernels import ops; from qtoolkit.kernels.layer import pack_layer\n"
            "print(ops.int8_linear_float(torch.ones(1, 3, dtype=torch.int8), pack_layer(torch.ones(2, 3, dtype=torch.int8)), 2).tolist())\n"
            "print(kernels.info()['native'], kernels.info()['isa'])")
    process = fresh(code, QTOOLKIT_LIBRARY=str(tmp_path / "missing.so"))
    assert process.stdout.splitlines() == ["[[3.0, 3.0]]", "False torch"]
    assert "RuntimeWarning" in process.stderr and "fallback" in process.stderr


def test_a_missing_library_is_an_error_where_it_is_required(tmp_path):
    process = fresh("import qtoolkit.kernels", QTOOLKIT_LIBRARY=str(tmp_path / "missing.so"), QTOOLKIT_REQUIRE_NATIVE="1")
    assert process.returncode == 1 and "QTOOLKIT_REQUIRE_NATIVE" in process.stderr


def test_a_broken_library_is_reported_not_loaded(tmp_path):
    broken = tmp_path / "libqtoolkit_kernels.so"
    broken.write_bytes(b"not a library")
    process = fresh("from qtoolkit import kernels; print(kernels.info()['reason'])", QTOOLKIT_LIBRARY=str(broken))
    assert "did not load" in process.stdout and process.returncode == 0


def big_layer() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (512, 1024), generator=generator, dtype=torch.int8)
    return torch.randint(-128, 128, (64, 1024), generator=generator, dtype=torch.int8), pack_layer(weight, shift=torch.tensor(40),
                                                                                                  multiplier=torch.tensor(2**30))


@native
def test_several_callers_share_the_pool():
    x, layer = big_layer()
    expected = portable.int8_linear(x, layer, 512)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    with ThreadPoolExecutor(4) as callers:
        results = list(callers.map(lambda _: ops.int8_linear(x, layer, 512), range(200)))
    torch.set_num_threads(before)
    assert all(torch.equal(result, expected) for result in results)


@native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="hardware: no fork on this system")
def test_the_pool_survives_fork():
    code = """
import os, torch
from qtoolkit.kernels import ops, portable
from tests.kernels.test_library import big_layer
torch.set_num_threads(3)
x, layer = big_layer()
expected = ops.int8_linear(x, layer, 512)
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if all(torch.equal(ops.int8_linear(x, layer, 512), expected) for _ in range(5)) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(ops.int8_linear(x, layer, 512), expected)
print("alive")
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    process = fresh(code, PYTHONPATH=root)
    assert process.stdout.strip() == "alive", process.stderr
