"""Run an answer on the visible cases, compare numbers with numbers, and find the known mistake that gives the same ones."""

import contextlib
import copy
import io
import linecache
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch

from qtoolkit.check.values import Raises, decode, describe, difference

SECONDS = 10.0  # for one call


@dataclass(frozen=True)
class Outcome:
    """What one call gave: a value, or Raises with the words that explain it."""

    value: object
    words: str = ""


@dataclass(frozen=True)
class Result:
    """The verdict on an answer: how many visible cases pass, and what to say about the first that does not."""

    name: str
    passed: int
    total: int
    text: str
    started: bool = True

    def points(self, most: float) -> float:
        """Show the verdict and return the points it is worth: what a graded cell ends with."""
        print(self.text)
        return round(most * self.passed / self.total, 2) if self.started else 0.0

    def __repr__(self) -> str:
        return self.text


class _TooSlow(BaseException):
    pass


@contextlib.contextmanager
def _time_limit(seconds: float):
    """Stop an endless loop where the platform allows it: in the main thread, with an alarm signal."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call(answer: Callable, arguments: dict, seconds: float = SECONDS) -> Outcome:
    """Call an answer on copies of the arguments, silently, within a time limit; an argument it changes is a fault of its own."""
    given = copy.deepcopy(arguments)
    try:
        with _time_limit(seconds), contextlib.redirect_stdout(io.StringIO()):
            value = answer(**given)
    except _TooSlow:
        return Outcome(Raises(("TimeLimit",)), f"no answer within {seconds:g} s: is there a loop that never ends?")
    except NotImplementedError:
        return Outcome(NotImplemented)
    except (Exception, SystemExit) as error:
        return Outcome(Raises((type(error).__name__,)), _explain(error, answer))
    for name in arguments:
        if difference(arguments[name], given[name], 0):
            return Outcome(Raises(("ChangedArgument",)), f"your function changed its argument {name}: compute on a copy, or without in-place operations")
    return Outcome(value)


def _explain(error: BaseException, answer: Callable) -> str:
    """The error and the last line of the learner's own code that led to it."""
    place, trace = "", error.__traceback__
    own = getattr(getattr(answer, "__code__", None), "co_filename", None)
    while trace:
        if trace.tb_frame.f_code.co_filename == own:
            place = f"\n    in your line {trace.tb_lineno}: {linecache.getline(own, trace.tb_lineno).strip()}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{place}"


def judge(name: str, key: dict, answer: Callable) -> Result:
    """The verdict on `answer` for the exercise `name`, whose entry in the key file is `key`."""
    if not callable(answer):
        return Result(name, 0, len(key["cases"]), f"✗ {name}: got {describe(answer)}, expected your function itself, without parentheses", started=False)
    outcomes, cases = [], key["cases"]
    for case in cases:
        outcomes.append(call(answer, {argument: decode(value) for argument, value in case["arguments"].items()}))
        if outcomes[0].value is NotImplemented:
            return Result(name, 0, len(cases), f"○ {name}: not started. Replace the line `raise NotImplementedError` by your answer.", started=False)
        if isinstance(outcomes[-1].value, Raises) and outcomes[-1].value.names == ("TimeLimit",):
            break
    faults = [difference(decode(case["expected"]), outcome.value, key["tolerance"]) for case, outcome in zip(cases, outcomes)]
    passed = sum(fault is None for fault in faults)
    if passed == len(cases):
        return Result(name, passed, len(cases), f"✓ {name}: {passed} of {len(cases)} visible cases")
    first = next(i for i, fault in enumerate(faults) if fault is not None)
    return Result(name, passed, len(cases), _failure(name, key, first, passed, faults[first], outcomes))


def _failure(name: str, key: dict, first: int, passed: int, fault: str, outcomes: list[Outcome]) -> str:
    case, mistake = key["cases"][first], diagnose(key, outcomes)
    call_text = ", ".join(f"{argument}={describe(decode(value))}" for argument, value in case["arguments"].items())
    lines = [f"✗ {name}: {case['name']} ({passed} of {len(key['cases'])} visible cases pass)",
             f"  input     {call_text}",
             f"  result    {outcomes[first].words or fault}"]
    if outcomes[first].words:
        lines.append(f"  expected  {describe(decode(case['expected']))}")
    if mistake:
        lines.append(f"  hint      {mistake['hint']}")
    else:
        lines.append(f"  hint      not a mistake we know; check.hint(\"{name}\") helps in three steps")
    section = (mistake or {}).get("section") or key["section"]
    lines.append(f"  read      {key['chapter']}#{section}")
    return "\n".join(lines)


def diagnose(key: dict, outcomes: list[Outcome]) -> dict | None:
    """The known mistake whose numbers these are, on every visible case; None if there is none."""
    for mistake in key["mistakes"]:
        known = [decode(value) for value in mistake["outcomes"]]
        if len(known) == len(outcomes) and all(difference(want, got.value, max(key["tolerance"], 1e-5)) is None for want, got in zip(known, outcomes)):
            return mistake
    return None
