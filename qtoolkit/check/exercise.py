"""What an instructor writes in `solutions/NN-name/checks.py`: cases, the reference, other right answers, known mistakes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Case:
    """One call: a name that says what it is about, and the arguments by name."""

    name: str
    arguments: dict[str, object]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners give, and the hint that names it. Without a hint: made by machine, only to be caught."""

    answer: Callable
    hint: str = ""
    section: str = ""  # heading slug in the chapter; empty: the exercise's own


@dataclass(frozen=True)
class Exercise:
    """A graded function. `cases(generator)` draws the cases; seed 0 gives the visible ones, an instructor's seed the hidden ones."""

    name: str  # "ch02.quantize"
    title: str
    section: str  # heading slug in the chapter
    hints: tuple[str, str, str]  # the concept, where to look, almost the code
    cases: Callable[[torch.Generator], list[Case]]
    reference: Callable
    alternatives: tuple[Callable, ...]
    mistakes: tuple[Mistake, ...]
    tolerance: float = 0.0  # relative; 0 asks for equality

    def draw(self, seed: int) -> list[Case]:
        """The cases of a seed."""
        return self.cases(torch.Generator().manual_seed(seed))
