"""`qt verify`: proof that every exercise teaches what it claims. Each function yields the faults it finds, in words."""

import ast
import contextlib
import inspect
import io
import re
import sys
import tempfile
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat

from qtoolkit.check import build, paths
from qtoolkit.check.build import load_exercises
from qtoolkit.check.engine import Result, call, judge
from qtoolkit.check.exercise import Exercise
from qtoolkit.check.values import difference, encode

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


def right_answers_pass(exercise: Exercise, key: dict, *others: Callable) -> Iterator[str]:
    """The reference, every alternative and the solved notebook pass the visible cases and those of other seeds."""
    for number, answer in enumerate((exercise.reference, *exercise.alternatives, *others)):
        if not (result := judge(exercise.name, key, answer)).passed == result.total:
            yield f"right answer {number} fails: {result.text}"
        for seed in SEEDS[1:]:
            for case in exercise.draw(seed):
                right, got = call(exercise.reference, case.arguments).value, call(answer, case.arguments).value
                if fault := difference(right, got, exercise.tolerance):
                    yield f"right answer {number} fails the hidden case {case.name!r} of seed {seed}: {fault}"


def mistakes_are_caught_and_named(exercise: Exercise, key: dict) -> Iterator[str]:
    """No mistake passes all visible cases; each hand-written one is answered by its own hint, so no two are alike."""
    for number, mistake in enumerate(exercise.mistakes):
        result = judge(exercise.name, key, mistake.answer)
        if result.passed == result.total:
            yield f"mistake {number} ({mistake.hint or 'machine-made'}) passes all visible cases"
        elif mistake.hint and f" hint {mistake.hint} read " not in " ".join(result.text.split()):
            yield f"mistake {number} ({mistake.hint}) is answered by: {result.text}"


def empty_answers_score_nothing(exercise: Exercise, key: dict, stub: Callable) -> Iterator[str]:
    """The answer that a student finds in the released notebook scores exactly 0 and is told that it was not begun."""
    result = judge(exercise.name, key, stub)
    with contextlib.redirect_stdout(io.StringIO()):
        points = result.points(10)
    if points != 0 or result.started or "not started" not in result.text:
        yield f"an empty answer gets {result.text}"


def hidden_cases_are_new(exercise: Exercise) -> Iterator[str]:
    """At least half of the cases of another seed are other calls: the visible ones learned by heart are not worth much."""
    visible = [encode(list(case.arguments.values())) for case in exercise.draw(SEEDS[0])]
    for seed in SEEDS[1:]:
        hidden = [encode(list(case.arguments.values())) for case in exercise.draw(seed)]
        if 2 * sum(call not in visible for call in hidden) < len(hidden):
            yield f"most cases of seed {seed} are visible ones"


def links_lead_somewhere(chapter: str) -> Iterator[str]:
    """Sections named by exercises and mistakes, and links in the notebooks, are headings of the chapter once it exists."""
    text = (paths.EXERCISES / chapter / build.KEY).read_text(encoding="utf-8")
    slugs = {slug for slug in re.findall(r'"section":"([^"]+)"', text)}
    page = paths.ROOT / "book/chapters" / f"{chapter}.ipynb"
    for path in sorted((paths.SOLUTIONS / chapter).glob("*.ipynb")):
        source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        slugs |= set(re.findall(rf"book/chapters/{chapter}\.ipynb#([\w-]+)", source))
    if page.exists():
        titles = [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "markdown"]
        known = {_slug(title) for title in re.findall(r"(?m)^#+ (.+)$", "\n".join(titles))}
        yield from (f"there is no section #{slug} in {page.name}" for slug in sorted(slugs - known))


def _slug(title: str) -> str:
    """A heading as the anchor that GitHub, MyST and the book give it."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.strip().lower()))


class _Listener:
    """Stands in for `check` while a notebook is run: remembers which function was handed in for which exercise."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable] = {}

    def __call__(self, name: str, answer: Callable) -> Result:
        self.answers[name] = answer
        return Result(name, 0, 1, "")

    def hint(self, name: str) -> None:
        """A hint changes nothing here."""


def answers_in(path: Path) -> dict[str, Callable]:
    """Run the code cells of a notebook from top to bottom; {exercise: the function that it hands to check}."""
    listener = _Listener()
    names = {"__name__": "__notebook__"}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{path.name}, cell {cell.id}", "exec"), names)
                names["check"] = listener
    return listener.answers


def nothing_leaks(chapter: str) -> Iterator[str]:
    """No solution stands in the exercises: neither between markers nor token by token."""
    for path in sorted((paths.SOLUTIONS / chapter).glob("*.ipynb")):
        released = (paths.EXERCISES / chapter / path.name).read_text(encoding="utf-8")
        if "BEGIN SOLUTION" in released or "BEGIN MARK SCHEME" in released:
            yield f"{path.name}: a solution marker is left"
        cells = nbformat.reads(released, as_version=4).cells
        given = _words("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
        for cell in nbformat.read(path, as_version=4).cells:
            for body in re.findall(r"### BEGIN SOLUTION\n(.*?)\s*### END SOLUTION", cell.source, flags=re.S):
                if _words(body) in given:
                    yield f"{path.name}: the solution of cell {cell.id} stands in the exercise"
        for exercise in load_exercises(chapter):
            for answer in (exercise.reference, *exercise.alternatives):
                if _words(_body(answer)) in given:
                    yield f"{path.name}: {answer.__name__} of checks.py stands in the exercise"


def _body(answer: Callable) -> str:
    """The statements of a function, without its signature."""
    source = textwrap.dedent(inspect.getsource(answer))
    statements = ast.parse(source).body[0].body
    return "\n".join(source.splitlines()[statements[0].lineno - 1 : statements[-1].end_lineno])


def _words(source: str) -> str:
    """A piece of Python as its tokens, without layout and comments."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    words = tokenize.generate_tokens(io.StringIO("if 1:\n" + textwrap.indent(textwrap.dedent(source), " ") + "\n").readline)
    return " ".join([word.string for word in words if word.type not in skipped][3:])


def faults_of(chapter: str) -> Iterator[str]:
    """All faults of a chapter's exercises."""
    solved, stubs = ({}, {})
    for path in sorted((paths.SOLUTIONS / chapter).glob("*.ipynb")):
        solved |= answers_in(path)
        stubs |= answers_in(paths.EXERCISES / chapter / path.name)
    exercises = load_exercises(chapter)
    for exercise in exercises:
        if exercise.name not in solved:
            yield f"{exercise.name}: no notebook in solutions/{chapter} checks it"
            continue
        key = build.make_key(chapter, exercise)
        for proof in (counts(exercise), right_answers_pass(exercise, key, solved[exercise.name]), hidden_cases_are_new(exercise),
                      mistakes_are_caught_and_named(exercise, key), empty_answers_score_nothing(exercise, key, stubs[exercise.name])):
            yield from (f"{exercise.name}: {fault}" for fault in proof)
    yield from (f"{chapter}: {name} is checked, but not declared" for name in solved.keys() - {exercise.name for exercise in exercises})
    yield from nothing_leaks(chapter)
    yield from links_lead_somewhere(chapter)


def main() -> int:
    """Prove every exercise; say how much was proved, or what is wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        build.build(Path(temporary))
        faults = [f"{name} is not what solutions/ gives: run qt build" for name in build.out_of_sync(Path(temporary))]
    exercises = [exercise for chapter in paths.chapters() for exercise in load_exercises(chapter)]
    for chapter in paths.chapters():
        faults += faults_of(chapter)
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    mistakes = [mistake for exercise in exercises for mistake in exercise.mistakes]
    print(f"{len(exercises)} exercises, {len(mistakes)} wrong answers ({sum(bool(m.hint) for m in mistakes)} with a hint of their own): "
          + (f"{len(faults)} faults" if faults else "all proved"))
    return 1 if faults else 0
