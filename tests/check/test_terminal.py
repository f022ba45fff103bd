"""`qt check` says in a terminal what the notebook's own checks say."""

import shutil

import nbformat
import pytest
from typer.testing import CliRunner

from qtoolkit import cli
from qtoolkit.check import paths, terminal

CHAPTER = "02-uniform-quantization"


@pytest.fixture
def learner(tmp_path, monkeypatch):
    """A learner's own copy of the exercises, and a progress file of their own."""
    shutil.copytree(paths.EXERCISES, tmp_path / "exercises")
    monkeypatch.setattr(paths, "EXERCISES", tmp_path / "exercises")
    monkeypatch.setenv("QT_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "exercises" / CHAPTER


def _qt(*arguments):
    return CliRunner().invoke(cli.app, ["check", *arguments])


def test_an_untouched_notebook_is_not_started(learner):
    run = _qt("ch02")
    lines = run.output.splitlines()
    assert run.exit_code == 1 and lines and all(line.startswith("○ ch02.") and "not started" in line for line in lines), run.output
    assert "hint" not in run.output


def test_a_solved_notebook_passes(learner):
    shutil.copy(paths.SOLUTIONS / CHAPTER / "exercises.ipynb", learner / "exercises.ipynb")
    run = _qt("02")
    assert run.exit_code == 0 and all(line.startswith("✓ ch02.") for line in run.output.splitlines()), run.output


def test_an_answer_that_is_no_python_is_told(learner):
    notebook = nbformat.read(learner / "exercises.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution"))
    cell.source = "def scale_zero_point(:"
    nbformat.write(notebook, learner / "exercises.ipynb")
    run = _qt(CHAPTER)
    assert run.exit_code == 1 and "✗ NameError: name 'scale_zero_point' is not defined" in run.output


def test_a_chapter_without_exercises_is_named_with_those_that_have_some(learner):
    with pytest.raises(ValueError, match="no exercises for 'ch77'; there are: 00-start-here"):
        terminal.notebooks("ch77")
    assert _qt("ch77").exit_code == 2


def test_without_a_chapter_all_are_meant(learner):
    assert {path.parent.name for path in terminal.notebooks(None)} == {path.parent.name for path in paths.EXERCISES.glob("*/key.json")}
