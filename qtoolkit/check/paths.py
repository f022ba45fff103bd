"""Where solutions, exercises and a learner's progress lie."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS, EXERCISES = ROOT / "solutions", ROOT / "exercises"


def chapters() -> list[str]:
    """The chapters that have exercises, in order."""
    return sorted(path.parent.name for path in SOLUTIONS.glob("*/checks.py"))


def progress_file() -> Path | None:
    """The one file that remembers which exercises are done: QT_PROGRESS ("none": nothing is remembered), or
    `qtoolkit/progress.json` in the user's state folder."""
    if named := os.environ.get("QT_PROGRESS"):
        return None if named == "none" else Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/qtoolkit/progress.json"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "qtoolkit" / "progress.json"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "qtoolkit/progress.json"
