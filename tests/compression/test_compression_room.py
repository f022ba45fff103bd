"""The room's front door: its docstring runs, its exports exist, and the specification names what the code does."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

from qtoolkit import compression
from qtoolkit.compression import architecture, container, sections
from qtoolkit.compression.bodies import DTYPES

SPECIFICATION = (Path(__file__).resolve().parents[2] / "book/file-format.md").read_text()


def test_docstrings_run():
    assert doctest.testmod(compression).failed == 0


def test_every_export_exists():
    assert all(hasattr(compression, name) for name in compression.__all__)


def test_the_room_imports_neither_the_lab_nor_its_oracles():
    code = ("import sys, qtoolkit.compression; "
            "print([m for m in ('scipy', 'sklearn', 'matplotlib', 'bitarray', 'qtoolkit.lab', 'qtoolkit.check') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_specification_lists_the_modules_dtypes_and_sections_of_the_code():
    for kind, (module, _) in architecture.MODULES.items():
        assert re.search(rf"\b{kind} {module.__name__}\b", SPECIFICATION), module
    for number, dtype in enumerate(DTYPES):
        assert f"{number} {str(dtype).removeprefix('torch.')}" in SPECIFICATION
    for name in ("Architecture", "Dense", "Uniform", "Shared", "Context"):
        assert f"**{getattr(sections, name.upper())} {name}" in SPECIFICATION
    assert f"`{container.MAGIC.decode()}`" in SPECIFICATION and f"| version | 2 | {container.VERSION}." in SPECIFICATION
