"""What importing costs, tested by what is loaded rather than by the clock."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ["scipy", "matplotlib", "typer", "rich", "anywidget", "ipywidgets", "safetensors", "tqdm", "IPython", "nbformat", "sklearn", "onnx",
         "onnxruntime", "pandas", "PIL", "networkx", "yaml"]


@cache
def _packages(code: str) -> frozenset[str]:
    """Top-level packages in memory after a fresh process ran `code`."""
    report = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return frozenset(run.stdout.split())


def _loaded_by(code: str, beyond: str) -> frozenset[str]:
    """Top-level packages that `code` loads beyond those that `beyond` loads."""
    return _packages(code) - _packages(beyond)


def test_importing_qtoolkit_loads_no_torch_and_nothing_heavy():
    assert _loaded_by("import qtoolkit", "pass") - sys.stdlib_module_names <= {"qtoolkit"}


@pytest.mark.parametrize("room", ["quantizers", "layers", "kernels", "lab", "check"])
def test_a_room_loads_nothing_heavy_beyond_torch(room):
    extra = _loaded_by(f"import torch, qtoolkit.{room}", "import torch, numpy")
    assert not extra & set(HEAVY), f"qtoolkit.{room} loads {sorted(extra & set(HEAVY))} at import"


@pytest.mark.parametrize("room", ["quantizers", "layers", "kernels", "compression"])
def test_the_technique_rooms_never_import_the_lab_or_the_check(room):
    parts = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sorted((ROOT / "qtoolkit" / room).rglob("*.py"))]
    code = (f"import sys, torch, importlib\nfor part in {[part.removesuffix('.__init__') for part in parts]}:\n    importlib.import_module(part)\n"
            "print('BAD', [name for name in sys.modules if name.startswith(('qtoolkit.lab', 'qtoolkit.check', 'qtoolkit.cli'))])")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "BAD []" in run.stdout, run.stdout + run.stderr


def test_the_heavy_list_would_notice():
    assert "typer" in _loaded_by("import qtoolkit.cli", "pass")
