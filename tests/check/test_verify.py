"""Every exercise of the course is proved, and the proof itself notices what is wrong."""

import dataclasses

import pytest

from qtoolkit.check import build, paths, verify
from qtoolkit.check.exercise import Mistake

EXERCISES = [(chapter, exercise) for chapter in paths.chapters() for exercise in build.load_exercises(chapter)]
each_exercise = pytest.mark.parametrize(("chapter", "exercise"), EXERCISES, ids=[exercise.name for _, exercise in EXERCISES])


@each_exercise
def test_an_exercise_has_what_the_course_promises(chapter, exercise):
    assert list(verify.counts(exercise)) == []


@each_exercise
def test_right_answers_pass_visible_and_hidden_cases(chapter, exercise):
    assert list(verify.right_answers_pass(exercise, build.make_key(chapter, exercise))) == []


@each_exercise
def test_every_mistake_is_caught_and_named(chapter, exercise):
    assert list(verify.mistakes_are_caught_and_named(exercise, build.make_key(chapter, exercise))) == []


@each_exercise
def test_an_empty_stub_scores_nothing(chapter, exercise):
    assert list(verify.stub_scores_nothing(exercise, build.make_key(chapter, exercise))) == []


@each_exercise
def test_other_seeds_draw_other_cases(chapter, exercise):
    drawn = [[build.encode(case.arguments[name]) for case in exercise.draw(seed) for name in case.arguments] for seed in verify.SEEDS]
    assert drawn[0] != drawn[1] != drawn[2]


@pytest.mark.parametrize("chapter", paths.chapters())
def test_no_solution_leaks(chapter):
    assert list(verify.nothing_leaks(chapter)) == []


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
    assert any("stands in the exercise" in fault for fault in verify.nothing_leaks(chapter))


def test_the_key_holds_no_code():
    for chapter in paths.chapters():
        text = build.key_text(chapter)
        assert "lambda" not in text and "def " not in text
        assert len(text) < 40_000
