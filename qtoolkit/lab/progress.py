"""Progress bars for a person who is watching, and for nobody else.

A notebook that is run by a machine (tests, `make refresh`) must give the same outputs every time, so bars
appear only in a terminal or in a notebook that was opened in Jupyter, and they vanish when they are done.
"""

import os
import sys


def watched() -> bool:
    """Whether somebody sees this process work: a terminal, or a kernel that JupyterLab started."""
    return "JPY_SESSION_NAME" in os.environ or (sys.stderr is not None and sys.stderr.isatty())


def bar(iterable=None, *, what: str, unit: str = "it", total: int | None = None, show: bool = True):
    """A tqdm bar labelled `what`; silent when `show` is false or nobody is watching.

    >>> [x for x in bar([1, 2], what="counting")]
    [1, 2]
    """
    from tqdm.auto import tqdm

    return tqdm(iterable, desc=what, unit=unit, total=total, unit_scale=unit == "B", leave=False,
                disable=not (show and watched()))
