"""Bring the scripts that notebooks carry up to date without running them: `python -m qtoolkit.lab.widgets.renew book/chapters`.

A saved widget holds its own script and style. When these change and the data do not, nothing needs to be computed again.
"""

import json
import sys
from pathlib import Path

from qtoolkit.lab import widgets
from qtoolkit.lab.refresh import WIDGETS, notebooks_in
from qtoolkit.lab.results import replace_file


def renewed(notebook: dict) -> int:
    """Replace every outdated script and style in the saved widgets of `notebook`; returns how many widgets were outdated."""
    kinds = {f"{kind.__module__}.{kind.__name__}": kind for kind in vars(widgets).values() if isinstance(kind, type) and hasattr(kind, "module")}
    outdated = 0
    for model in notebook["metadata"].get("widgets", {}).get(WIDGETS, {}).get("state", {}).values():
        kind = kinds.get(model["state"].get("_anywidget_id"))
        current = {"_esm": kind._esm, "_css": kind._css} if kind else {}
        outdated += any(model["state"][key] != text for key, text in current.items())
        model["state"] |= current
    return outdated


def main(paths: list[str]) -> None:
    for path in notebooks_in(paths):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if count := renewed(notebook):
            replace_file(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())
            print(f"{path}: {count} widgets renewed")


if __name__ == "__main__":
    main(sys.argv[1:])
