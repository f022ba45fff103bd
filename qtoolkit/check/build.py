"""`qt build`: solutions become exercises, by nbgrader's own steps, and each chapter gets its key of numbers and hints."""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from qtoolkit.check import paths
from qtoolkit.check.engine import call
from qtoolkit.check.exercise import Exercise
from qtoolkit.check.values import AS_EXPECTED, Raises, encode

VISIBLE = 0  # the seed of the visible cases
KEY = "key.json"  # also beside the solutions, from where nbgrader hands it to students and restores it before grading


def load_exercises(chapter: str) -> list[Exercise]:
    """The exercises that `solutions/<chapter>/checks.py` declares, in a list named EXERCISES."""
    path = paths.SOLUTIONS / chapter / "checks.py"
    spec = importlib.util.spec_from_file_location(f"checks_{chapter.replace('-', '_')}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EXERCISES


def outcome(answer, arguments: dict):
    """What a call gives, errors as Raises without a name: a mistake's error message is nobody's signature."""
    value = call(answer, arguments).value
    return Raises() if isinstance(value, Raises) else value


def make_key(chapter: str, exercise: Exercise, seed: int = VISIBLE) -> dict:
    """What a learner's machine needs: cases with expected values, and the numbers by which each known mistake is recognized."""
    cases = exercise.draw(seed)
    expected = [encode(call(exercise.reference, case.arguments).value) for case in cases]
    return {
        "title": exercise.title,
        "chapter": f"book/chapters/{chapter}.ipynb",
        "section": exercise.section,
        "hints": list(exercise.hints),
        "tolerance": exercise.tolerance,
        "cases": [{"name": case.name, "arguments": {name: encode(value) for name, value in case.arguments.items()}, "expected": right}
                  for case, right in zip(cases, expected)],
        "mistakes": [{"hint": mistake.hint, "section": mistake.section,
                      "outcomes": [_beside(right, encode(outcome(mistake.answer, case.arguments))) for case, right in zip(cases, expected)]}
                     for mistake in exercise.mistakes if mistake.hint],
    }


def _beside(right, got):
    """A mistake's encoded value; a mark where it is the right one, type included, which the key has already."""
    return AS_EXPECTED if json.dumps(got) == json.dumps(right) else got


def release(notebook, file: str):
    """A solved notebook as a student gets it: nbgrader's preprocessors in the order of `nbgrader generate_assignment`."""
    from nbgrader.preprocessors import (CheckCellMetadata, ClearHiddenTests, ClearMarkScheme, ClearOutput, ClearSolutions,
                                        ComputeChecksums, LockCells)

    resources = {"unique_key": file, "metadata": {"name": file}}
    for step in (LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ComputeChecksums, ClearHiddenTests, ClearMarkScheme,
                 ComputeChecksums, CheckCellMetadata):
        notebook, resources = step().preprocess(notebook, resources)
    return notebook


def build_chapter(chapter: str, out: Path) -> None:
    """Write the exercises of one chapter into the folder `out`: what `nbgrader generate_assignment` would release."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted((paths.SOLUTIONS / chapter).glob("*.ipynb")):
        released = release(nbformat.read(path, as_version=4), path.stem)
        (out / path.name).write_text(nbformat.writes(released) + "\n", encoding="utf-8")
    (out / KEY).write_text(key_text(chapter), encoding="utf-8")


def key_text(chapter: str) -> str:
    """The key of a chapter: one line an exercise and case, so that a change is seen where it is."""
    keys = {exercise.name: make_key(chapter, exercise) for exercise in load_exercises(chapter)}
    return json.dumps(keys, ensure_ascii=False, separators=(",", ":")).replace('},{"name"', '},\n{"name"') + "\n"


def build(out: Path) -> None:
    """Write the exercises of all chapters below `out`."""
    for chapter in paths.chapters():
        build_chapter(chapter, out / chapter)


def out_of_sync(built: Path) -> list[str]:
    """Files of a fresh build and of `exercises/` that differ or exist on one side only."""
    names = {path.relative_to(folder) for folder in (built, paths.EXERCISES) for path in folder.rglob("*")
             if path.is_file() and ".ipynb_checkpoints" not in path.parts}

    def read(path: Path) -> bytes | None:
        return path.read_bytes() if path.exists() else None

    stale = {str(Path("exercises") / name) for name in names if read(built / name) != read(paths.EXERCISES / name)}
    keys = {chapter: (built / chapter / KEY, paths.SOLUTIONS / chapter / KEY) for chapter in paths.chapters()}
    return sorted(stale | {f"solutions/{chapter}/{KEY}" for chapter, (new, old) in keys.items() if read(new) != read(old)})


def main(check_only: bool = False) -> int:
    """Build `exercises/`, or with `check_only` say whether it is what a build would give."""
    with tempfile.TemporaryDirectory(dir=paths.ROOT, prefix=".build-") as temporary:
        build(Path(temporary))
        stale = out_of_sync(Path(temporary))
        if not check_only:
            for name in stale:
                _put(Path(temporary) / Path(name).relative_to(Path(name).parts[0]), paths.ROOT / name)
    if check_only and stale:
        print(f"not what solutions/ gives: {', '.join(stale)}. Run qt build.", file=sys.stderr)
        return 1
    print(f"{len(stale)} files written" if stale else "exercises/ is up to date")
    return 0


def _put(new: Path, old: Path) -> None:
    if not new.exists():
        old.unlink()
        return
    old.parent.mkdir(parents=True, exist_ok=True)
    part = old.with_suffix(old.suffix + ".part")
    shutil.copyfile(new, part)
    os.replace(part, old)
