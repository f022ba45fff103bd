"""Measured results in files: what runs longer than a notebook cell is recorded once, with how it was made."""

import json
import math
import os
import platform
import re
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"


def record(name: str, data: dict[str, Any], seed: int | None = None, folder: Path | None = None) -> Path:
    """Write `data` and its provenance (seed, versions, CPU, threads, date) to `book/results/NAME.json` in one step.

    Raises ValueError for a name that is no file name, for NaN or infinity and for data that JSON cannot hold.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(f"a result's name is lower-case letters, digits and dashes, given {name!r}")
    if not isinstance(data, dict) or "provenance" in data:
        raise ValueError("data is a dict of named numbers without a key 'provenance', which record adds")
    _refuse_unreal(data, name)
    try:
        text = json.dumps(data | {"provenance": provenance(seed)}, indent=2, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"{name}: {error}; convert tensors with .item() or .tolist()") from None
    path = (folder or RESULTS) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (text + "\n").encode())
    return path


def load(name: str, folder: Path | None = None) -> dict[str, Any]:
    """The recorded result `name`, a dict with its data and a key 'provenance'."""
    folder = folder or RESULTS
    path = folder / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(other.stem for other in folder.glob("*.json"))) or "none yet"
        raise FileNotFoundError(f"no recorded result {name!r} (recorded: {known}); make it with `qt reproduce {name}`")
    return json.loads(path.read_text(encoding="utf-8"))


def provenance(seed: int | None = None) -> dict[str, Any]:
    """What a reader needs to repeat a run: seed, versions, processor, threads and date."""
    return {"seed": seed, **versions(), "date": datetime.now(timezone.utc).strftime("%Y-%m-%d")}


def versions() -> dict[str, Any]:
    """Versions, processor and threads: two runs with the same may be continued in one another."""
    import numpy
    import torch

    import qtoolkit

    return {
        "qtoolkit": qtoolkit.__version__, "torch": torch.__version__, "numpy": numpy.__version__,
        "python": platform.python_version(), "cpu": cpu_name(), "machine": platform.machine(), "threads": torch.get_num_threads(),
    }


def cpu_name() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.M)
    return found[1].strip() if found else platform.machine()


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name and rename it to `path`: readers see the old file or the new one, never half."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _refuse_unreal(value: Any, where: str) -> None:
    """NaN and infinity are no results."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, expected a finite number")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_unreal(inner, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _refuse_unreal(inner, f"{where}[{index}]")
