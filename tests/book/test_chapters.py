"""Every chapter has the same arc, is executed and error-free, and lets no measured number be typed into its prose."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "book/chapters").glob("*.ipynb"))
NOTEBOOKS = CHAPTERS + sorted((ROOT / "solutions").glob("*/*.ipynb"))
FIRST, LAST = "You will be able to", ["Fallacies and pitfalls", "Check yourself", "Exercises", "Summary", "References"]
# A measurement: a number with a unit of what this course measures. Definitions ("8 bits", "784 pixels") are not measurements.
MEASURED = re.compile(r"(?<![\w$\\{.])\d+(?:[.,]\d+)*\s*(?:%|percent\b|points?\b|ms\b|µs\b|us\b|[kKMG]i?B\b|GMAC|times (?:faster|smaller|slower))")


def _cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def _source(cell: dict) -> str:
    return "".join(cell["source"])


def _headings(path: Path, level: int) -> list[str]:
    text = "\n".join(re.sub(r"```.*?```", "", _source(cell), flags=re.S) for cell in _cells(path, "markdown"))
    return re.findall(rf"^{'#' * level} (.+?)\s*$", text, flags=re.M)


def _by_name(paths: list[Path]):
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


def test_there_are_chapters():
    assert {"00-start-here", "02-uniform-quantization"} <= {path.stem for path in CHAPTERS}


@_by_name(CHAPTERS)
def test_a_chapter_follows_the_arc(path):
    titles, sections = _headings(path, 1), _headings(path, 2)
    assert len(titles) == 1 and titles[0].startswith(path.stem[:2]), f"one title, starting with the number: {titles}"
    assert sections[0] == FIRST and sections[-len(LAST):] == LAST, sections
    assert len(sections) > len(LAST) + 2, "no sections between the goals and the pitfalls"
    opening = _source(_cells(path, "markdown")[0])
    assert len(opening.split()) > 30, "the opening states a concrete problem under the title"


@_by_name(CHAPTERS)
def test_the_goals_name_prerequisites_and_a_time(path):
    goals = next(_source(cell) for cell in _cells(path, "markdown") if f"## {FIRST}" in _source(cell))
    assert 3 <= len(re.findall(r"^- ", goals, flags=re.M)) <= 6
    assert "Prerequisites" in goals


@_by_name(CHAPTERS)
def test_a_chapter_predicts_before_it_shows(path):
    assert any("**Predict" in _source(cell) for cell in _cells(path, "markdown"))


@_by_name(CHAPTERS)
def test_a_chapter_has_a_widget_and_a_quiz_of_five_questions(path):
    state = json.loads(path.read_text())["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    models = [model["state"] for model in state.values() if model["state"].get("_esm")]
    quizzes = [model for model in models if "questions" in model]
    assert len(models) > len(quizzes) >= 1
    assert sum(len(quiz["questions"]) for quiz in quizzes) >= 5


@_by_name(CHAPTERS)
def test_every_wrong_option_of_the_quiz_is_explained(path):
    state = json.loads(path.read_text())["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    for question in (question for model in state.values() for question in model["state"].get("questions", [])):
        assert all(option.get("explanation") for option in question["options"]), question


@_by_name(NOTEBOOKS)
def test_every_code_cell_was_executed_without_error(path):
    for index, cell in enumerate(_cells(path, "code"), start=1):
        assert cell["execution_count"] == index, f"code cell {index} holds execution count {cell['execution_count']}: make refresh NOTEBOOKS={path.relative_to(ROOT)}"
        assert all(output["output_type"] != "error" for output in cell["outputs"])


@_by_name(CHAPTERS)
def test_no_measured_number_is_typed_into_the_prose(path):
    for cell in _cells(path, "markdown"):
        assert not MEASURED.findall(_source(cell)), f"use lab.say: {MEASURED.findall(_source(cell))} in:\n{_source(cell)}"


@_by_name(CHAPTERS)
def test_every_picture_has_a_text_alternative(path):
    for cell in _cells(path, "code"):
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data or "image/svg+xml" in data or "<img" in "".join(data.get("text/html", "")):
                html = "".join(data.get("text/html", "")) + json.dumps(output.get("metadata", {}))
                assert re.search(r"alt=\\?\"[^\"]{20,}|\"alt\": \"[^\"]{20,}", html), f"no alt text: {_source(cell)}"


@_by_name(CHAPTERS)
def test_links_to_files_of_the_project_lead_somewhere(path):
    for cell in _cells(path, "markdown"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", _source(cell)):
            assert (path.parent / target).resolve().exists(), target


@_by_name(CHAPTERS)
def test_a_chapter_links_its_exercises(path):
    section = next(_source(cell) for cell in _cells(path, "markdown") if re.search(r"^## Exercises", _source(cell), flags=re.M))
    assert f"exercises/{path.stem}/exercises.ipynb" in section
    assert len(re.findall(r"^- ", section, flags=re.M)) >= 2


@_by_name(CHAPTERS)
def test_house_style_of_the_prose(path):
    text = "\n".join(_source(cell) for cell in _cells(path, "markdown"))
    prose = re.sub(r"\$\$.*?\$\$|`[^`]*`|\$[^$]*\$|!\[|!=", "", re.sub(r"```.*?```", "", text, flags=re.S), flags=re.S)
    assert "!" not in prose
    assert not re.findall(r"\b(?:simply|obviously)\b", prose, flags=re.I)


@_by_name(NOTEBOOKS)
def test_maths_is_written_so_that_every_renderer_takes_it(path):
    """JupyterLab's renderer refuses a command as a bare subscript: write q_{\\min}, not q_\\min."""
    for cell in _cells(path, "markdown"):
        assert not re.findall(r"[_^]\\[a-zA-Z]+", re.sub(r"`[^`]*`", "", _source(cell))), _source(cell)
