"""`qt check`: run a learner's exercise notebook and print the verdicts, without opening it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

from qtoolkit.check import paths

SECONDS = 120  # for one cell


def notebooks(chapter: str | None) -> list[Path]:
    """The exercise notebooks of a chapter ("ch02", "02" or its whole name), or of all. Raises ValueError for one without exercises."""
    number = re.sub(r"^ch", "", chapter or "")
    found = sorted(path for path in paths.EXERCISES.glob("*/*.ipynb") if path.parent.name.startswith(number))
    if not found:
        known = ", ".join(sorted(path.parent.name for path in paths.EXERCISES.glob("*/key.json"))) or "none (run qt build)"
        raise ValueError(f"no exercises for {chapter!r}; there are: {known}")
    return found


def verdicts(path: Path) -> Iterator[str]:
    """What each check of the notebook says when the whole notebook is run, top to bottom, in its own folder."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS, allow_errors=True, kernel_name="python3", extra_arguments=["--log-level=40"],
                            resources={"metadata": {"path": str(path.parent)}})
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            texts = [f"✗ {output.ename}: {output.evalue}" if output.output_type == "error" else output.text
                     for output in cell.outputs if output.output_type in ("error", "stream")]
            yield "".join(texts).rstrip()


def main(chapter: str | None = None, watch: bool = False) -> int:
    """Print all verdicts; 0 if every check passes. With `watch`, again after every change of a notebook, until Ctrl-C."""
    while True:
        files = notebooks(chapter)
        saved = [path.stat().st_mtime for path in files]
        passed = True
        for path in files:
            for verdict in verdicts(path):
                print(verdict)
                passed &= verdict.startswith("✓")
        if not watch:
            return 0 if passed else 1
        print("watching; Ctrl-C ends it")
        while [path.stat().st_mtime for path in files] == saved:
            time.sleep(0.5)
