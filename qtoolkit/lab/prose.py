"""Prose whose numbers come from code."""

import math
import string

from qtoolkit.lab.source import put


def say(template: str, **numbers) -> None:
    """Display Markdown in which every `{name:format}` is filled with a number that code computed.

    A literal brace, as in LaTeX, is written twice: `$2^{{b}}$`. Raises ValueError for a name without a number, a number
    that the text does not use, and a number that is NaN or infinite.

    >>> say("At {bits} bits the error is {error:.2f} %.", bits=4, error=1.5)
    At 4 bits the error is 1.50 %.
    """
    used = {field.split(".")[0].split("[")[0] for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    if used != set(numbers):
        raise ValueError(f"the text uses {sorted(used)}, given {sorted(numbers)}; write a literal brace twice: {{{{ }}}}")
    for name, number in numbers.items():
        if not _finite(number):
            raise ValueError(f"{name} is {number}, expected a finite number")
    text = template.format(**numbers)
    put(text, text)


def _finite(value) -> bool:
    """Whether a number is finite; what is no number (a name, a list) passes."""
    try:
        return math.isfinite(value)
    except (TypeError, ValueError):
        return True
