"""Instant feedback on exercises, offline: `check("ch02.quantize", quantize)`.

    check(name, answer)     run the visible cases; name the mistake if it is a known one
    check.hint(name)        the next of three hints: the concept, where to look, almost the code
    check.progress()        what is done and what is next

Every check compares numbers with the numbers in `exercises/NN-name/key.json`, which `qt build` makes from `solutions/`.
"""

from qtoolkit.check.checker import Checker
from qtoolkit.check.exercise import Case, Exercise, Mistake
from qtoolkit.check.values import AnyWrong, Raises

check = Checker()

__all__ = ["AnyWrong", "Case", "Checker", "Exercise", "Mistake", "Raises", "check"]
