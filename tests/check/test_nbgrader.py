"""A real nbgrader run in a copy of the course: release, submit, autograde, read the gradebook."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from qtoolkit.check import paths

CHAPTER = "02-uniform-quantization"
GRADED = ["ch02-scale_zero_point", "ch02-quantize", "ch02-integer_linear", "ch02-find_the_bug"]


def _nbgrader(course: Path, *arguments: str) -> subprocess.CompletedProcess:
    run = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=course, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return run


@pytest.fixture(scope="module")
def course(tmp_path_factory, monkeypatch_module) -> Path:
    course = tmp_path_factory.mktemp("course")
    monkeypatch_module.setenv("QT_PROGRESS", str(course / "progress.json"))
    monkeypatch_module.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # nbgrader calls alembic by name
    shutil.copytree(paths.SOLUTIONS, course / "solutions", ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    shutil.copy(paths.ROOT / "nbgrader_config.py", course)
    (course / "grading").mkdir()
    _nbgrader(course, "generate_assignment", CHAPTER)
    return course


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_nbgrader_releases_the_same_bytes_as_qt_build(course):
    released = {path.name: path.read_bytes() for path in (course / "exercises" / CHAPTER).iterdir() if path.is_file()}
    committed = {path.name: path.read_bytes() for path in (paths.EXERCISES / CHAPTER).iterdir() if path.is_file()}
    assert released.keys() == committed.keys()
    assert released == committed


def _submit(course: Path, student: str, answers: dict[str, str]) -> None:
    """Hand in the released notebook with the code cells named in `answers` filled in."""
    folder = course / "grading/submitted" / student / CHAPTER
    folder.mkdir(parents=True)
    shutil.copy(course / "exercises" / CHAPTER / "key.json", folder)
    notebook = nbformat.read(course / "exercises" / CHAPTER / "exercises.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    nbformat.write(notebook, folder / "exercises.ipynb")


def _solutions(course: Path) -> dict[str, str]:
    notebook = nbformat.read(course / "solutions" / CHAPTER / "exercises.ipynb", as_version=4)
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in notebook.cells
            if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution")}


BY_HEART = """
import json

_cases = json.load(open("key.json"))["ch02.scale_zero_point"]["cases"]


def scale_zero_point(lo, hi, bits):
    return next(tuple(case["expected"]["tuple"]) for case in _cases if case["arguments"] == {"lo": lo, "hi": hi, "bits": bits})
"""


@pytest.fixture(scope="module")
def scores(course, monkeypatch_module) -> dict[str, dict[str, float]]:
    """{student: {graded cell: automatic score}}, hidden cases included, for a solved, an untouched and a half-right submission.

    The half-right one rounds ties up, has learned the visible ranges by heart, and warns on stderr where it is right; its
    checks and its key were edited.
    """
    solved = _solutions(course)
    half = solved | {
        "ch02-quantize-answer": solved["ch02-quantize-answer"].replace("torch.round(x / scale)", "torch.floor(x / scale + 0.5)"),
        "ch02-scale_zero_point-answer": BY_HEART,
        "ch02-find_the_bug-answer": solved["ch02-find_the_bug-answer"].replace("    top =", "    import warnings; warnings.warn('careful')\n    top ="),
    }
    monkeypatch_module.setenv("QT_HIDDEN_SEED", "20260")
    _submit(course, "solved", solved)
    _submit(course, "untouched", {})
    _submit(course, "half-right", half | dict.fromkeys(GRADED, "4"))
    (course / "grading/submitted/half-right" / CHAPTER / "key.json").write_text("{}")
    _nbgrader(course, "autograde", CHAPTER)
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/grading/gradebook.db") as book:
        return {student.id: {grade.name: grade.auto_score for notebook in book.assignment_submissions(CHAPTER) if notebook.student.id == student.id
                             for part in notebook.notebooks for grade in part.grades if grade.name in GRADED} for student in book.students}


def test_the_solution_gets_every_automatic_point(scores):
    assert scores["solved"] == dict.fromkeys(GRADED, 4.0)


def test_an_untouched_notebook_gets_exactly_nothing(scores):
    assert scores["untouched"] == dict.fromkeys(GRADED, 0.0)


def test_a_rounding_mistake_costs_part_of_one_exercise_although_the_check_was_edited(scores):
    assert 2 < scores["half-right"]["ch02-quantize"] < 4


def test_the_visible_cases_learned_by_heart_are_not_the_answer(scores):
    assert 2 <= scores["half-right"]["ch02-scale_zero_point"] < 3


def test_a_warning_costs_nothing(scores):
    assert scores["half-right"]["ch02-find_the_bug"] == scores["half-right"]["ch02-integer_linear"] == 4
