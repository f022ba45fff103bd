"""Questions with several options, each with its own explanation."""

from random import Random

import traitlets

from qtoolkit.lab.widgets.base import Widget, synced


class Quiz(Widget):
    """Multiple choice: every option, right or wrong, answers with its explanation. No score is kept or sent.

    questions: [{"question": str, "options": [{"text": str, "correct": bool, "explanation": str}, ...]}, ...]; `code` may stand between backticks.
    Raises ValueError for a question without exactly one correct option, with fewer than two options or an option without explanation.
    """

    module = "quiz.js"
    questions = synced(traitlets.List())

    def __init__(self, questions: list[dict]):
        if not questions:
            raise ValueError("given no questions, expected at least one")
        for asked in questions:
            check_question(asked)
        super().__init__(questions=[asked | {"options": shuffled(asked)} for asked in questions])

    def __repr__(self) -> str:
        return f"Quiz({len(self.questions)} question{'s' * (len(self.questions) != 1)})"


def check_question(asked: dict) -> None:
    """Raise ValueError, naming the question, for anything a learner would stumble over."""
    options, name = asked.get("options", []), asked.get("question")
    if not name or set(asked) != {"question", "options"}:
        raise ValueError(f"a question has the keys question and options, given {sorted(asked)}")
    if len(options) < 2 or sum(bool(option.get("correct")) for option in options) != 1:
        raise ValueError(f"{name!r}: expected at least two options and exactly one of them correct")
    for option in options:
        if not option.get("text") or not option.get("explanation"):
            raise ValueError(f"{name!r}: option {option.get('text')!r} needs a text and an explanation")


def shuffled(asked: dict) -> list[dict]:
    """The options in an order that depends on the question alone: authors may write the right one first."""
    return Random(asked["question"]).sample(asked["options"], len(asked["options"]))


def quiz(questions: list[dict]) -> Quiz:
    """Show multiple-choice questions: see `Quiz`.

    >>> quiz([{"question": "2 bits, how many codes?", "options": [
    ...     {"text": "4", "correct": True, "explanation": "Two to the power of two."},
    ...     {"text": "2", "correct": False, "explanation": "That is one bit."}]}])
    Quiz(1 question)
    """
    return Quiz(questions)
