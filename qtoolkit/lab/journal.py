"""A long measurement that can be stopped: every finished part is kept in the cache folder until the whole is recorded.

    journal = Journal("deep-compression")
    row = journal.once("lenet-5 seed 0", measure)     # calls measure() the first time, reads what it returned ever after
    journal.forget()                                  # when the results file is written
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from qtoolkit.lab.fetch import cache_dir
from qtoolkit.lab.results import replace_file


class Journal:
    """The finished parts of one measurement, each a file written in one step. `about` names everything that all parts depend on
    (versions, settings): parts of another `about` are not found.
    """

    def __init__(self, name: str, about: Any = None, folder: Path | None = None):
        digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:12]
        self.folder = (folder or cache_dir() / "unfinished") / f"{name}-{digest}"

    def once(self, part: str, measure: Callable[[], Any]) -> Any:
        """What `measure()` returns, plain data for JSON; measured once, then read from its file."""
        path = self.path(part, "json")
        if not path.exists():
            replace_file(path, json.dumps(measure(), allow_nan=False).encode())
        return json.loads(path.read_text(encoding="utf-8"))

    def tensors(self, part: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What `make()` returns, named tensors; made once, then read from its file."""
        from safetensors.torch import load_file, save

        path = self.path(part, "safetensors")
        if not path.exists():
            replace_file(path, save({name: tensor.detach().contiguous() for name, tensor in make().items()}))
        return load_file(path)

    def path(self, part: str, kind: str) -> Path:
        """The file of a part; its folder exists."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{re.sub(r'[^a-z0-9.]+', '-', part.lower())}.{kind}"

    def forget(self) -> None:
        """Remove every part: the measurement is recorded elsewhere now."""
        shutil.rmtree(self.folder, ignore_errors=True)
