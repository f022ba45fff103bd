"""`check`: the one object that a learner talks to."""

import json
import os
import textwrap
from collections import Counter
from pathlib import Path

from qtoolkit.check import paths, progress
from qtoolkit.check.engine import WIDTH, Result, judge


class Checker:
    """Call it with an exercise and your function; ask it for a hint; ask it how far you are."""

    def __init__(self) -> None:
        self._hints_given: Counter[str] = Counter()

    def __call__(self, name: str, answer) -> Result:
        """The verdict on `answer`, on the visible cases of the exercise `name`."""
        result = judge(name, find_key(name), answer)
        if result.started and not {paths.SOLUTIONS, paths.ROOT / "book"} & {Path.cwd(), *Path.cwd().parents}:  # not the learner's work
            progress.remember(name, result.passed, result.total)
        if seed := os.environ.get("QT_HIDDEN_SEED"):
            result = result.with_hidden(judge(name, hidden_key(name, int(seed)), answer))
        return result

    def hint(self, name: str) -> None:
        """The next hint: first the concept, then where to look, then almost the code."""
        hints = find_key(name)["hints"]
        step = min(self._hints_given[name], len(hints) - 1)
        self._hints_given[name] += 1
        print(textwrap.fill(f"hint {step + 1} of {len(hints)}: {hints[step]}", WIDTH, break_on_hyphens=False))

    def progress(self) -> None:
        """Every exercise, and how many of its visible cases your best answer passed."""
        print(progress.summary())


def key_files() -> list[Path]:
    """The key beside the notebook, then those of the project."""
    here = Path("key.json").resolve()
    return [path for path in (here, *sorted(paths.EXERCISES.glob("*/key.json"))) if path.exists()]


def find_key(name: str) -> dict:
    """The entry of the exercise in a key file. Raises ValueError for an unknown name, listing the known ones."""
    known: list[str] = []
    for path in key_files():
        keys = json.loads(path.read_text(encoding="utf-8"))
        if name in keys:
            return keys[name]
        known += [other for other in keys if other not in known]
    raise ValueError(f"there is no exercise {name!r}; there are: {', '.join(sorted(known)) or 'none (run qt build)'}")


def hidden_key(name: str, seed: int) -> dict:
    """The key of the cases of an instructor's seed. Only where solutions/ lies, that is while grading: QT_HIDDEN_SEED=seed."""
    from qtoolkit.check import build

    for chapter in paths.chapters():
        for exercise in build.load_exercises(chapter):
            if exercise.name == name:
                return build.make_key(chapter, exercise, seed)
    raise ValueError(f"QT_HIDDEN_SEED is set, but solutions/ does not declare {name!r}; hidden cases are drawn from its checks.py")
