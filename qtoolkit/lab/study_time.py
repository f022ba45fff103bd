"""How long a chapter takes, computed from its own text instead of guessed."""

import json
import re
from pathlib import Path

from qtoolkit.lab.references import BIBLIOGRAPHY

CHAPTERS = BIBLIOGRAPHY.parent / "chapters"
WORDS_A_MINUTE = 180  # careful reading; plain non-fiction is read at about 238 (Brysbaert 2019)
LINES_A_MINUTE = 10  # code that is new to the reader


def count(notebook: dict) -> tuple[int, int]:
    """Words of prose and lines of visible code in a notebook.

    >>> count({"cells": [{"cell_type": "markdown", "source": ["two words"]}, {"cell_type": "code", "source": ["x = 1"], "metadata": {}}]})
    (2, 1)
    """
    cells = [(cell["cell_type"], "".join(cell["source"]), cell.get("metadata", {})) for cell in notebook["cells"]]
    words = sum(len(re.findall(r"\w[\w'-]*", text)) for kind, text, _ in cells if kind == "markdown")
    lines = sum(text.count("\n") + 1 for kind, text, extra in cells if kind == "code" and "remove-input" not in extra.get("tags", []))
    return words, lines


def study_time(name: str) -> str:
    """One sentence on the time that chapter `name` takes, rounded up to five minutes, with what it was computed from."""
    path = CHAPTERS / f"{name}.ipynb"
    words, lines = count(json.loads(path.read_text(encoding="utf-8")))
    minutes = -(-(words / WORDS_A_MINUTE + lines / LINES_A_MINUTE) // 5) * 5
    return (f"about {minutes:.0f} minutes to read ({round(words, -2):,} words at {WORDS_A_MINUTE} a minute, "
            f"{round(lines, -1)} lines of code at {LINES_A_MINUTE} a minute), and as long again for the exercises")
