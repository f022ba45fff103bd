"""The verdict on answers of every kind: right, wrong, unfinished, hostile."""

import builtins
import json
import math
import re
import sys
import threading
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtoolkit.check import Case, Exercise, Mistake, Raises, check, engine, paths, progress
from qtoolkit.check.build import make_key
from qtoolkit.check.checker import find_key, hidden_key
from qtoolkit.check.values import decode, describe, difference, encode


def _double(x):
    return 2 * x


DOUBLE = Exercise(
    name="ch99.double", title="Double", section="a-section", hints=("concept", "where", "almost"),
    cases=lambda generator: [Case("three numbers", {"x": torch.tensor([1.0, 2.0, 3.0])}), Case("one number", {"x": torch.tensor([4.0])})],
    reference=_double, alternatives=(lambda x: x + x,), mistakes=(Mistake(lambda x: x * x, "you squared"),), tolerance=1e-6)
KEY = make_key("99-nowhere", DOUBLE)


def _raise(error):
    raise error


def verdict(answer) -> engine.Result:
    return engine.judge(DOUBLE.name, KEY, answer)


def test_a_right_answer_is_told_how_many_cases_were_visible():
    assert verdict(lambda x: x + x).text == "✓ ch99.double: 2 of 2 visible cases"


def test_a_known_mistake_is_named_with_case_input_expected_got_and_a_place_to_read():
    assert str(verdict(lambda x: x * x)).splitlines() == [
        "✗ ch99.double: three numbers (0 of 2 visible cases pass)",
        "  input     x=tensor([1, 2, 3], float32)",
        "  result    at index 0: expected 2, got 1 (2 of 3 values differ)",
        "  hint      you squared",
        "  read      book/chapters/99-nowhere.ipynb#a-section",
    ]


def test_an_unknown_mistake_is_sent_to_the_hints():
    assert 'check.hint("ch99.double")' in verdict(lambda x: 3 * x).text


def test_an_unfinished_answer_is_not_started_and_worth_nothing(capsys):
    def stub(x):
        raise NotImplementedError()

    result = verdict(stub)
    assert "not started" in result.text and result.points(4) == 0 and not result.started


def test_points_are_partial(capsys):
    half = verdict(lambda x: 2 * x if len(x) == 1 else x)
    assert half.points(4) == 2.0
    assert "1 of 2 visible cases pass" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "words"), [
    (lambda x: None, "expected a tensor, got None"),
    (lambda x: [2.0, 4.0, 6.0], "expected a tensor, got [2, 4, 6]"),
    (lambda x: (2 * x).to(torch.int8), "expected dtype torch.float32, got dtype torch.int8"),
    (lambda x: (2 * x)[:, None], "expected shape (3,), got shape (3, 1)"),
    (lambda x: x * math.nan, "expected 2, got nan"),
    (lambda x: x.mul_(2), "changed its argument x"),
    (lambda y: 2 * y, "your function takes (y), expected (x)"),
    (lambda x: print(2 * x), "your function returns nothing"),
    (torch.zeros, "TypeError"),
    (lambda x: 2 * x if len(x) > 1 else _raise(NotImplementedError()), "not done yet"),
    (lambda x: sys.exit(0), "SystemExit"),
    (lambda x: undefined, "NameError"),  # noqa: F821
])
def test_wrong_answers_of_every_kind_are_explained(answer, words):
    result = verdict(answer)
    assert result.passed < 2 and words in result.text


def test_an_error_points_to_the_learners_own_line():
    def answer(x):
        return torch.ones(2) @ torch.ones(3)

    assert "in your line" in verdict(answer).text and "torch.ones(2) @ torch.ones(3)" in verdict(answer).text
    assert "engine.py" not in verdict(answer).text and "Traceback" not in verdict(answer).text


def test_a_lying_equality_gains_nothing():
    class Liar:
        def __eq__(self, other):
            return True

    assert verdict(lambda x: Liar()).passed == 0


def test_a_tensor_subclass_gains_nothing():
    class Liar(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return True

    assert verdict(lambda x: x.as_subclass(Liar)).passed == 0


def test_output_of_a_right_answer_is_swallowed(capsys):
    assert verdict(lambda x: print("noise" * 100_000) or 2 * x).passed == 2
    assert capsys.readouterr() == ("", "")


def test_the_beginning_of_what_a_wrong_answer_prints_is_shown():
    text = verdict(lambda x: print("x is", x.tolist(), "noise" * 100_000)).text
    assert "  printed   x is [1.0, 2.0, 3.0] noise" in text and len(text) < 1000


def test_nothing_reaches_stderr_which_nbgrader_takes_for_a_failure(capsys):
    def warns(x):
        warnings.warn("be careful")
        print("an error message", file=sys.stderr)
        return 2 * x

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert verdict(warns).passed == 2
    assert capsys.readouterr().err == ""


class _Unspeakable(BaseException):
    def __str__(self):
        raise RuntimeError("no words")


def _endless_list():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize("answer", [
    lambda x: _raise(_Unspeakable()),
    lambda x: _raise(ValueError("long " * 100_000)),
    lambda x: _endless_list(),
    lambda x: torch.zeros(3, device="meta"),
    lambda x: torch.zeros(3).to_sparse(),
    lambda x: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(1)]),
    lambda x: torch.complex(x, x),
    lambda x: torch.quantize_per_tensor(x, 1.0, 0, torch.qint8),
    lambda x: type("Sized", (list,), {"__len__": lambda self: _raise(OSError())})(),
    lambda x: type("Number", (float,), {"__eq__": lambda self, other: True, "__float__": lambda self: 2.0})(),
    lambda x: (lambda: (yield))(),
    lambda x: _raise(GeneratorExit()),
    lambda x: (lambda f: f(f))(lambda f: f(f)),
])
def test_hostile_values_end_in_a_short_verdict(answer):
    result = verdict(answer)
    assert result.passed == 0 and len(result.text) < 1500 and "Traceback" not in result.text


def test_the_learners_own_interrupt_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        verdict(lambda x: _raise(KeyboardInterrupt()))


def test_points_are_a_number_to_nbgrader_and_a_link_to_the_reader(capsys):
    points = verdict(lambda x: x * x).points(4)
    assert repr(points) == "0.0" and points._repr_html_() == (
        '0 of 4 points &middot; read <a href="../../book/chapters/99-nowhere.ipynb#a-section">a section</a>')
    assert verdict(_double).points(4)._repr_html_() == "4 of 4 points"


def test_right_numbers_of_another_type_are_said_to_be_right():
    assert "only their type" in verdict(lambda x: (2 * x).double()).text


def test_hidden_cases_count_but_are_not_shown(monkeypatch):
    monkeypatch.setenv("QT_PROGRESS", "none")
    monkeypatch.setenv("QT_HIDDEN_SEED", "12345")
    visible = {json.dumps(case["arguments"]): case["expected"] for case in find_key("ch00.parameters")["cases"]}

    def learned_by_heart(sizes):
        return decode(visible[json.dumps({"sizes": sizes})])

    result = check("ch00.parameters", learned_by_heart)
    assert "6 of 6 visible cases\n  hidden    " in result.text and result.points(6) < 5
    honest = check("ch00.parameters", lambda sizes: ((n := sum(a * b + b for a, b in zip(sizes, sizes[1:]))), 4 * n))
    assert honest.points(6) == 6 and "6 of 6 hidden cases pass" in honest.text


def test_hidden_cases_need_the_solutions(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "SOLUTIONS", tmp_path)
    with pytest.raises(ValueError, match="does not declare"):
        hidden_key("ch00.parameters", 1)


def test_an_endless_loop_ends(monkeypatch):
    calls = []

    def forever(x):
        calls.append(x)
        while True:
            pass

    monkeypatch.setattr(engine, "SECONDS", 0.2)
    result = verdict(forever)
    assert "loop that never ends" in result.text and "expected  tensor([2, 4, 6], float32)" in result.text and result.points(4) == 0
    assert len(calls) == 1  # it stops at the first such case


def test_an_endless_loop_that_prints_and_catches_errors_ends(monkeypatch):
    def forever(x):
        while True:
            try:
                print("still here" * 1000)
            except Exception:
                pass

    monkeypatch.setattr(engine, "SECONDS", 0.2)
    assert "loop that never ends" in verdict(forever).text and len(verdict(forever).text) < 1500


def test_without_an_alarm_the_check_still_works():
    results = []
    thread = threading.Thread(target=lambda: results.append(verdict(_double)))
    thread.start()
    thread.join()
    assert results[0].passed == 2


def test_something_that_is_no_function_is_refused():
    assert "without parentheses" in verdict(_double(torch.ones(1))).text


def test_patched_builtins_do_not_help(monkeypatch):
    monkeypatch.setattr(builtins, "all", lambda items: True)
    assert verdict(lambda x: x).passed == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2**40, 2**40) | st.floats(width=32) | st.text(alphabet="abc"),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=6)


@given(values)
def test_values_survive_a_key_file(value):
    assert difference(value, decode(json.loads(json.dumps(encode(value)))), 1e-7) is None


@pytest.mark.parametrize("tensor", [
    torch.tensor([1.5, math.nan, -math.inf]), torch.zeros(0, 3), torch.arange(6, dtype=torch.int8).reshape(2, 3).T, torch.tensor(7), torch.tensor([True, False])])
def test_tensors_survive_a_key_file(tensor):
    back = decode(json.loads(json.dumps(encode(tensor))))
    assert difference(tensor, back, 0) is None and back.dtype == tensor.dtype
    assert back.is_contiguous() == tensor.is_contiguous()


@pytest.mark.parametrize(("expected", "got", "same"), [
    (1, 1, True), (1, 1.0, False), (1.0, 1, True), (1, torch.tensor(1), True), (True, 1, False), ((1, 2), [1, 2], True), ((1, 2), (1,), False),
    (Raises(("ValueError",)), Raises(("ValueError",)), True), (Raises(("ValueError",)), Raises(("TypeError",)), False), (Raises(), Raises(("KeyError",)), True), (0.0, Raises(), False), ("a", "a", True), (None, 0, False)])
def test_what_counts_as_the_same(expected, got, same):
    assert (difference(expected, got, 1e-9) is None) == same


def test_large_values_are_described_in_one_short_line():
    assert len(describe(list(range(1000)))) <= 160
    assert describe(torch.zeros(100, 100)) == "a float32 tensor of shape (100, 100)"


def test_an_unknown_exercise_lists_the_known_ones():
    with pytest.raises(ValueError, match="ch02.quantize"):
        check("ch02.quantise", _double)


def test_no_line_is_wider_than_a_notebook(capsys):
    def answer(x, scale, zero_point, bits):
        print("a long line " * 20)
        raise ValueError("many words " * 50)

    text = engine.judge("ch02.quantize", find_key("ch02.quantize"), answer).text
    for _ in range(3):
        check.hint("ch02.integer_linear")
    assert max(map(len, [*text.splitlines(), *capsys.readouterr().out.splitlines()])) <= 100


def test_hints_come_one_at_a_time(capsys):
    from qtoolkit.check import Checker

    fresh = Checker()
    for _ in range(4):
        fresh.hint("ch02.quantize")
    said = capsys.readouterr().out
    assert re.findall(r'hint \d of \d', said) == ["hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3"]


def test_progress_keeps_the_best_and_survives_a_broken_file(tmp_path, monkeypatch):
    monkeypatch.setenv("QT_PROGRESS", str(tmp_path / "deep/progress.json"))
    assert "not started" in progress.summary()
    progress.remember("ch02.quantize", 3, 7)
    progress.remember("ch02.quantize", 2, 7)
    assert progress.load() == {"ch02.quantize": [3, 7]}
    paths.progress_file().write_text("{broken")
    assert progress.load() == {}
    progress.remember("ch02.quantize", 7, 7)
    assert "✓ ch02.quantize" in progress.summary() and "next: ch00.parameters" in progress.summary()


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QT_PROGRESS", str(tmp_path / "file/progress.json"))
    progress.remember("ch02.quantize", 1, 7)
    said = capsys.readouterr()
    assert "could not be saved" in said.out and said.err == ""


def test_a_folder_in_the_place_of_the_file_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "progress.json").mkdir()
    monkeypatch.setenv("QT_PROGRESS", str(tmp_path / "progress.json"))
    progress.remember("ch02.quantize", 1, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


@pytest.mark.parametrize(("folder", "remembered"), [("solutions/00-start-here", False), ("book", False), ("exercises/00-start-here", True)])
def test_solutions_and_examples_are_nobodys_progress(folder, remembered, tmp_path, monkeypatch):
    monkeypatch.setenv("QT_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.chdir(paths.ROOT / folder)
    check("ch00.parameters", lambda sizes: (1, 4))
    assert (tmp_path / "progress.json").exists() == remembered


def test_nothing_is_remembered_on_request(monkeypatch):
    monkeypatch.setenv("QT_PROGRESS", "none")
    progress.remember("ch02.quantize", 1, 7)
    assert progress.load() == {}
