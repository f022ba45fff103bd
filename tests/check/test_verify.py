"""Every exercise of the course is proved, and the proof itself notices what is wrong."""

import dataclasses
import inspect

import nbformat
import pytest

from qtoolkit.check import build, paths, verify
from qtoolkit.check.exercise import Mistake

EXERCISES = [(chapter, exercise) for chapter in paths.chapters() for exercise in build.load_exercises(chapter)]
each_exercise = pytest.mark.parametrize(("chapter", "exercise"), EXERCISES, ids=[exercise.name for _, exercise in EXERCISES])


@each_exercise
def test_an_exercise_has_what_the_course_promises(chapter, exercise):
    assert list(verify.counts(exercise)) == []


@pytest.fixture(scope="module")
def handed_in():
    """{exercise: (the function of the solved notebook, that of the released one)}; both notebooks run from top to bottom."""
    solved, stubs = {}, {}
    for chapter in paths.chapters():
        solved |= verify.answers_in(paths.SOLUTIONS / chapter / "exercises.ipynb")
        stubs |= verify.answers_in(paths.EXERCISES / chapter / "exercises.ipynb")
    return {name: (solved[name], stubs[name]) for name in solved}


@each_exercise
def test_right_answers_pass_visible_and_hidden_cases(chapter, exercise, handed_in):
    assert list(verify.right_answers_pass(exercise, build.make_key(chapter, exercise), handed_in[exercise.name][0])) == []


@each_exercise
def test_every_mistake_is_caught_and_named(chapter, exercise):
    assert list(verify.mistakes_are_caught_and_named(exercise, build.make_key(chapter, exercise))) == []


@each_exercise
def test_the_released_notebook_scores_nothing(chapter, exercise, handed_in):
    assert list(verify.empty_answers_score_nothing(exercise, build.make_key(chapter, exercise), handed_in[exercise.name][1])) == []


@each_exercise
def test_other_seeds_draw_other_cases(chapter, exercise):
    assert list(verify.hidden_cases_are_new(exercise)) == []


@pytest.mark.parametrize("chapter", paths.chapters())
def test_no_solution_leaks(chapter):
    assert list(verify.nothing_leaks(chapter)) == []


@pytest.mark.parametrize("chapter", paths.chapters())
def test_links_lead_to_sections_of_the_chapter(chapter):
    assert list(verify.links_lead_somewhere(chapter)) == []


def test_a_dead_link_is_noticed(tmp_path, monkeypatch):
    chapters = tmp_path / "book/chapters"
    chapters.mkdir(parents=True)
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Three matrices")])
    nbformat.write(page, chapters / "00-start-here.ipynb")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert list(verify.links_lead_somewhere("00-start-here")) == ["there is no section #how-good-is-it in 00-start-here.ipynb"]


def test_exercises_are_what_solutions_give(tmp_path):
    build.build(tmp_path)
    assert build.out_of_sync(tmp_path) == []


def test_a_changed_exercise_is_noticed(tmp_path):
    build.build(tmp_path)
    (tmp_path / "02-uniform-quantization/exercises.ipynb").write_text("edited by hand")
    (tmp_path / "00-start-here/extra.txt").write_text("left over")
    assert build.out_of_sync(tmp_path) == ["exercises/00-start-here/extra.txt", "exercises/02-uniform-quantization/exercises.ipynb"]


@pytest.fixture
def sound():
    chapter, exercise = EXERCISES[-1]
    return exercise, build.make_key(chapter, exercise)


def test_a_right_answer_listed_as_a_mistake_is_noticed(sound):
    exercise, key = sound
    wrong = dataclasses.replace(exercise, mistakes=(Mistake(exercise.alternatives[0]),))
    assert any("passes all visible cases" in fault for fault in verify.mistakes_are_caught_and_named(wrong, key))


def test_a_wrong_alternative_is_noticed(sound):
    exercise, key = sound
    wrong = dataclasses.replace(exercise, alternatives=(exercise.mistakes[0].answer,))
    assert any("fails" in fault for fault in verify.right_answers_pass(wrong, key))


def test_two_mistakes_with_the_same_numbers_are_noticed(sound):
    exercise, _ = sound
    twice = dataclasses.replace(exercise, mistakes=(*exercise.mistakes, Mistake(exercise.mistakes[0].answer, "another hint")))
    key = build.make_key("02-uniform-quantization", twice)
    assert any("another hint" in fault for fault in verify.mistakes_are_caught_and_named(twice, key))


def test_too_few_mistakes_are_noticed(sound):
    exercise, _ = sound
    assert any("mistakes" in fault for fault in verify.counts(dataclasses.replace(exercise, mistakes=exercise.mistakes[:3])))


def test_a_leaked_solution_is_noticed(tmp_path, monkeypatch):
    build.build(tmp_path)
    chapter = "02-uniform-quantization"
    solved = (paths.SOLUTIONS / chapter / "exercises.ipynb").read_text().replace("### BEGIN SOLUTION", "#").replace("### END SOLUTION", "#")
    (tmp_path / chapter / "exercises.ipynb").write_text(solved)
    monkeypatch.setattr(paths, "EXERCISES", tmp_path)
    faults = list(verify.nothing_leaks(chapter))
    assert len([fault for fault in faults if "the solution of cell" in fault]) == 4


def test_a_leaked_reference_is_noticed(tmp_path, monkeypatch):
    build.build(tmp_path)
    path = tmp_path / "00-start-here/exercises.ipynb"
    leaky = nbformat.read(path, as_version=4)
    leaky.cells.append(nbformat.v4.new_code_cell(inspect.getsource(EXERCISES[0][1].reference).replace("parameters", "renamed")))
    nbformat.write(leaky, path)
    monkeypatch.setattr(paths, "EXERCISES", tmp_path)
    assert any("parameters of checks.py stands in the exercise" in fault for fault in verify.nothing_leaks("00-start-here"))


def test_visible_cases_that_never_change_are_noticed(sound):
    exercise, _ = sound
    fixed = dataclasses.replace(exercise, cases=lambda generator: exercise.draw(0))
    assert len(list(verify.hidden_cases_are_new(fixed))) == 2


def test_the_key_holds_no_code():
    for chapter in paths.chapters():
        text = build.key_text(chapter)
        assert "lambda" not in text and "def " not in text
        assert len(text) < 50_000
