"""What importing costs, tested by what is loaded rather than by the clock."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"scipy", "matplotlib", "typer", "rich", "anywidget", "ipywidgets", "safetensors", "tqdm", "IPython", "nbformat", "sklearn", "onnx",
         "onnxruntime", "pandas", "PIL", "networkx", "yaml"}
ROOMS = ["quantizers", "layers", "kernels", "posttraining", "training", "lowbit", "lab", "check"]
TECHNIQUES = ["quantizers", "layers", "kernels", "posttraining", "training", "lowbit", "compression"]
REPORT = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def _output(code: str) -> str:
    """The last line that a fresh process prints."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1]


def _loaded(code: str) -> set[str]:
    return set(json.loads(_output(f"{code}\n{REPORT}")))


def test_importing_qtoolkit_loads_no_torch_and_nothing_heavy():
    assert _loaded("import qtoolkit") - _loaded("pass") - sys.stdlib_module_names <= {"qtoolkit"}


def test_the_heavy_list_would_notice():
    assert "typer" in _loaded("import qtoolkit.cli")


@pytest.fixture(scope="module")
def heavy_by_room() -> dict[str, list[str]]:
    """What of the heavy list each room adds to torch, when the rooms are imported one after the other."""
    return json.loads(_output(
        f"import torch, numpy, sys, json, importlib\nheavy, seen = {HEAVY!r}, {{}}\nbefore = set(sys.modules)\n"
        f"for room in {ROOMS!r}:\n    importlib.import_module('qtoolkit.' + room)\n"
        "    seen[room], before = sorted(heavy & (set(sys.modules) - before)), set(sys.modules)\nprint(json.dumps(seen))"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_nothing_heavy_beyond_torch(heavy_by_room, room):
    assert heavy_by_room[room] == []


@pytest.fixture(scope="module")
def foreign_by_part() -> dict[str, list[str]]:
    """For each module of the technique rooms, what of the lab, the check or the command line came in with it."""
    paths = [path.relative_to(ROOT).with_suffix("") for room in TECHNIQUES for path in sorted((ROOT / "qtoolkit" / room).rglob("*.py"))]
    parts = [path.as_posix().replace("/", ".").removesuffix(".__init__") for path in paths]
    return json.loads(_output(
        f"import torch, sys, json, importlib\nseen, before = {{}}, set()\nfor part in {parts!r}:\n    importlib.import_module(part)\n"
        "    foreign = {name for name in sys.modules if name.startswith(('qtoolkit.lab', 'qtoolkit.check', 'qtoolkit.cli'))}\n"
        "    seen[part], before = sorted(foreign - before), foreign\nprint(json.dumps(seen))"))


@pytest.mark.parametrize("room", TECHNIQUES)
def test_the_technique_rooms_never_import_the_lab_or_the_check(foreign_by_part, room):
    mine = {part: foreign for part, foreign in foreign_by_part.items() if part.startswith(f"qtoolkit.{room}")}
    assert mine and not any(mine.values()), mine
