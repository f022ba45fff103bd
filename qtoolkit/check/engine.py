"""Run an answer on the visible cases, compare numbers with numbers, and find the known mistake that gives the same ones."""

import contextlib
import copy
import inspect
import io
import linecache
import signal
import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from qtoolkit.check.diagnosis import diagnose
from qtoolkit.check.values import Raises, decode, describe, difference

SECONDS = 5.0  # for one call
LETTERS = 300  # of what an answer prints, or of its error message
WIDTH = 100  # letters of a line of output
UNKNOWN = "not a mistake we know; check.hint(\"{name}\") helps in three steps"


@dataclass(frozen=True)
class Outcome:
    """What one call gave: a value, or Raises with the words that explain it; and the beginning of what it printed."""

    value: object
    words: str = ""
    printed: str = ""


class Points(float):
    """What a graded cell ends with. nbgrader reads the number; the notebook shows it with a link to what to read."""

    most: float
    link: str

    def _repr_html_(self) -> str:
        read = f' &middot; read <a href="../../{self.link}">{self.link.split("#")[-1].replace("-", " ")}</a>' if self < self.most else ""
        return f"{float(self):g} of {self.most:g} points{read}"


@dataclass(frozen=True)
class Result:
    """The verdict on an answer: how many visible cases pass, and what to say about the first that does not."""

    name: str
    passed: int
    total: int
    text: str
    link: str = ""
    started: bool = True

    def points(self, most: float) -> Points:
        """Show the verdict and return the points it is worth: what a graded cell ends with."""
        print(self.text)
        points = Points(round(most * self.passed / self.total, 2))
        points.most, points.link = most, self.link
        return points

    def with_hidden(self, hidden: "Result") -> "Result":
        """This verdict with the cases of an instructor's seed: they count, and only their number is shown."""
        text = f"{self.text}\n  hidden    {hidden.passed} of {hidden.total} hidden cases pass"
        return replace(self, passed=self.passed + hidden.passed, total=self.total + hidden.total, text=text)

    def __repr__(self) -> str:
        return self.text


class _TooSlow(BaseException):
    pass


class _Beginning(io.StringIO):
    """Keeps the beginning of what is written: an answer may print without end."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, LETTERS - self.tell())])
        return len(text)


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


def call(answer: Callable, arguments: dict) -> Outcome:
    """Call an answer on copies of the arguments, silently, within a time limit; an argument it changes is a fault of its own."""
    given, out = copy.deepcopy(arguments), _Beginning()
    try:
        # nbgrader takes anything on stderr for a failure, even a warning: nothing may get there.
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), _time_limit(SECONDS):
            value = answer(**given)
    except _TooSlow:
        words = f"no answer within {SECONDS:g} s: is there a loop that never ends?"
        return Outcome(Raises(("TimeLimit",)), words, out.getvalue())
    except NotImplementedError:
        return Outcome(NotImplemented, "your function raises NotImplementedError: this case is not done yet")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() in an answer must not end the notebook
        return Outcome(Raises((type(error).__name__,)), _explain(error, answer), out.getvalue())
    for name in arguments:
        if difference(arguments[name], given[name], 0):
            words = f"your function changed its argument {name}: compute on a copy, or without in-place operations"
            return Outcome(Raises(("ChangedArgument",)), words, out.getvalue())
    return Outcome(value, printed=out.getvalue())


def _explain(error: BaseException, answer: Callable) -> str:
    """The error and the last line of the learner's own code that led to it."""
    place, trace = "", error.__traceback__
    own = getattr(getattr(answer, "__code__", None), "co_filename", None)
    while trace:
        if trace.tb_frame.f_code.co_filename == own:
            line = linecache.getline(own, trace.tb_lineno).strip()
            place = f"\nin your line {trace.tb_lineno}" + (f": {line}" if line else "")
        trace = trace.tb_next
    try:
        message = str(error)
    except Exception:
        message = "an error that cannot be printed"
    return f"{type(error).__name__}: {message[:LETTERS]}{place}"


def judge(name: str, key: dict, answer: Callable) -> Result:
    """The verdict on `answer` for the exercise `name`, whose entry in the key file is `key`."""
    outcomes, cases, link = [], key["cases"], f"{key['chapter']}#{key['section']}"
    if words := _cannot_be_called(answer, cases[0]["arguments"]):
        return Result(name, 0, len(cases), f"✗ {name}: {words}", link, started=False)
    for case in cases:
        outcomes.append(call(answer, {argument: decode(value) for argument, value in case["arguments"].items()}))
        if outcomes[0].value is NotImplemented:
            words = f"○ {name}: not started. Replace the line `raise NotImplementedError()` by your answer."
            return Result(name, 0, len(cases), words, link, started=False)
        if isinstance(outcomes[-1].value, Raises) and outcomes[-1].value.names == ("TimeLimit",):
            break
    faults = [difference(decode(case["expected"]), outcome.value, key["tolerance"]) for case, outcome in zip(cases, outcomes)]
    passed = sum(fault is None for fault in faults)
    if passed == len(cases):
        return Result(name, passed, len(cases), f"✓ {name}: {passed} of {len(cases)} visible cases", link)
    hint, section = diagnose(key, [outcome.value for outcome in outcomes], faults) or (UNKNOWN.format(name=name), "")
    link = f"{key['chapter']}#{section or key['section']}"
    return Result(name, passed, len(cases), _failure(name, key, passed, faults, outcomes, hint, link), link)


def _cannot_be_called(answer, arguments: dict) -> str | None:
    """Why `answer` is no function with these argument names; None if it is one."""
    if not callable(answer):
        return f"got {describe(answer)}, expected your function itself, without parentheses"
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # a built-in may have none
        return None
    try:
        signature.bind(**arguments)
    except TypeError:
        return f"your function takes {signature}, expected ({', '.join(arguments)}): keep the names of the arguments"


def _failure(name: str, key: dict, passed: int, faults: list, outcomes: list[Outcome], hint: str, link: str) -> str:
    """Case and count; input, result, expected; what was printed; hint; where to read."""
    first = next(i for i, fault in enumerate(faults) if fault is not None)
    case, outcome = key["cases"][first], outcomes[first]
    given = ", ".join(f"{argument}={describe(decode(value))}" for argument, value in case["arguments"].items())
    parts = {"input": given, "result": outcome.words or faults[first],
             "expected": describe(decode(case["expected"])) if outcome.words else "",
             "printed": outcome.printed.strip(), "hint": hint, "read": link}
    return "\n".join([f"✗ {name}: {case['name']} ({passed} of {len(key['cases'])} visible cases pass)",
                      *(_labelled(label, text) for label, text in parts.items() if text)])


def _labelled(label: str, text: str) -> str:
    """A label and its text, wrapped to the width of a notebook and aligned."""
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, WIDTH - 12, break_on_hyphens=False) or [""]]
    return f"  {label:9} " + "\n            ".join(lines)
