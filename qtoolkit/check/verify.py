"""`qt verify`: proof that every exercise teaches what it claims. Each function yields the faults it finds, in words."""

import contextlib
import io
import re
import sys
import tempfile
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat

from qtoolkit.check import paths
from qtoolkit.check.build import build, load_exercises, make_key, out_of_sync
from qtoolkit.check.engine import call, diagnose, judge
from qtoolkit.check.exercise import Exercise
from qtoolkit.check.values import difference

SEEDS = (0, 1, 2)  # 0 draws the visible cases
LEAST = {"hand-written mistakes": 5, "machine-made mistakes": 3, "mistakes": 8, "alternatives": 3, "visible cases": 4}


def counts(exercise: Exercise) -> Iterator[str]:
    """An exercise has at least what the course promises of each."""
    written = sum(bool(mistake.hint) for mistake in exercise.mistakes)
    found = {"hand-written mistakes": written, "machine-made mistakes": len(exercise.mistakes) - written,
             "mistakes": len(exercise.mistakes), "alternatives": len(exercise.alternatives), "visible cases": len(exercise.draw(0))}
    for what, least in LEAST.items():
        if found[what] < least:
            yield f"{found[what]} {what}, expected at least {least}"


def right_answers_pass(exercise: Exercise, key: dict) -> Iterator[str]:
    """The reference and every alternative pass the visible cases and those of other seeds."""
    for number, answer in enumerate((exercise.reference, *exercise.alternatives)):
        if not (result := judge(exercise.name, key, answer)).passed == result.total:
            yield f"right answer {number} fails: {result.text}"
        for seed in SEEDS[1:]:
            for case in exercise.draw(seed):
                fault = difference(call(exercise.reference, case.arguments).value, call(answer, case.arguments).value, exercise.tolerance)
                if fault:
                    yield f"right answer {number} fails the hidden case {case.name!r} of seed {seed}: {fault}"


def mistakes_are_caught_and_named(exercise: Exercise, key: dict) -> Iterator[str]:
    """No mistake passes all visible cases; each hand-written one is answered by its own hint, so no two are alike."""
    for number, mistake in enumerate(exercise.mistakes):
        result = judge(exercise.name, key, mistake.answer)
        if result.passed == result.total:
            yield f"mistake {number} ({mistake.hint or 'machine-made'}) passes all visible cases"
        if not mistake.hint:
            continue
        outcomes = [call(mistake.answer, case.arguments) for case in exercise.draw(0)]
        named = diagnose(key, outcomes)
        if not named or named["hint"] != mistake.hint:
            yield f"mistake {number} ({mistake.hint}) is answered by {named['hint'] if named else 'no hint'}"


def stub_scores_nothing(exercise: Exercise, key: dict) -> Iterator[str]:
    """An answer that was not begun scores exactly 0 and is told so."""

    def stub(**_):
        raise NotImplementedError

    result = judge(exercise.name, key, stub)
    with contextlib.redirect_stdout(io.StringIO()):
        points = result.points(10)
    if points != 0 or "not started" not in result.text:
        yield f"an empty answer gets {result.text}"


def nothing_leaks(chapter: str) -> Iterator[str]:
    """No solution stands in the exercises: neither between markers nor token by token."""
    for path in sorted((paths.SOLUTIONS / chapter).glob("*.ipynb")):
        released = (paths.EXERCISES / chapter / path.name).read_text(encoding="utf-8")
        if "BEGIN SOLUTION" in released or "BEGIN MARK SCHEME" in released:
            yield f"{path.name}: a solution marker is left"
        given = " ".join(_tokens("\n".join(cell.source for cell in nbformat.reads(released, as_version=4).cells if cell.cell_type == "code")))
        for cell in nbformat.read(path, as_version=4).cells:
            for body in re.findall(r"### BEGIN SOLUTION\n(.*?)\s*### END SOLUTION", cell.source, flags=re.S):
                if " ".join(_tokens(body)) in given:
                    yield f"{path.name}: the solution of cell {cell.id} stands in the exercise"


def _tokens(source: str) -> list[str]:
    """The words of a piece of Python, without layout and comments."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    words = tokenize.generate_tokens(io.StringIO("if 1:\n" + re.sub(r"(?m)^", " ", source) + "\n").readline)
    return [word.string for word in words if word.type not in skipped][3:]


def faults_of(chapter: str) -> Iterator[str]:
    """All faults of a chapter's exercises."""
    for exercise in load_exercises(chapter):
        key = make_key(chapter, exercise)
        for proof in (counts(exercise), right_answers_pass(exercise, key), mistakes_are_caught_and_named(exercise, key), stub_scores_nothing(exercise, key)):
            yield from (f"{exercise.name}: {fault}" for fault in proof)
    yield from nothing_leaks(chapter)


def main() -> int:
    """Prove every exercise; say how much was proved, or what is wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(temporary))
        faults = [f"{name} is not what solutions/ gives: run qt build" for name in out_of_sync(Path(temporary))]
    exercises = [exercise for chapter in paths.chapters() for exercise in load_exercises(chapter)]
    for chapter in paths.chapters():
        faults += faults_of(chapter)
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    mistakes = [mistake for exercise in exercises for mistake in exercise.mistakes]
    print(f"{len(exercises)} exercises, {len(mistakes)} wrong answers ({sum(bool(m.hint) for m in mistakes)} with a hint of their own): "
          + (f"{len(faults)} faults" if faults else "all proved"))
    return 1 if faults else 0
