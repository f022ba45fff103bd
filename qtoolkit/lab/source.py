"""Show the library's own source: what a reader sees is what runs."""

import ast
import inspect
import sys
import textwrap
from pathlib import Path
from types import ModuleType


def source_of(thing, docstring: bool = True) -> str:
    """The source text of a function, class or module, dedented; without its outer docstring if `docstring` is false."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    try:
        text = textwrap.dedent(inspect.getsource(thing)).rstrip() + "\n"
    except (TypeError, OSError):
        raise TypeError(f"show takes a function, class or module with Python source, given {thing!r}") from None
    return text if docstring or isinstance(thing, ModuleType) else _without_docstring(text)


def show(*things, docstring: bool = True) -> None:
    """Show the real source of functions or classes, highlighted in a notebook, with the file it comes from.

    >>> from qtoolkit.lab.fetch import _notice
    >>> show(_notice)
    # _notice, in qtoolkit/lab/fetch.py
    def _notice(text: str) -> None:
        print(f"qtoolkit: {text}", file=sys.stderr)

    See: book/chapters/00-start-here.ipynb#when-you-are-stuck
    """
    for thing in things:
        text = source_of(thing, docstring)
        code = f"# {_name(thing)}, in {_file(thing)}\n{text}"
        put(f"```python\n{code}```", code)


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def put(markdown: str, plain: str) -> None:
    """Display Markdown in a notebook (its plain form beside it), print the plain form elsewhere."""
    if in_notebook():
        from IPython.display import display

        display({"text/markdown": markdown, "text/plain": plain}, raw=True)
    else:
        print(plain, end="" if plain.endswith("\n") else "\n")


def _name(thing) -> str:
    return getattr(thing, "__qualname__", getattr(thing, "__name__", repr(thing)))


def _file(thing) -> str:
    """Path below the folder that holds the top package: the same on every machine."""
    module = inspect.getmodule(inspect.unwrap(thing) if callable(thing) else thing)
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__":
        return "this notebook"
    depth = module.__name__.count(".") + (Path(file).name == "__init__.py")
    return "/".join(Path(file).parts[-depth - 1:])


def _without_docstring(text: str) -> str:
    body = ast.parse(text).body[0].body
    first = body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    if not documented or len(body) == 1:
        return text
    lines = text.splitlines(keepends=True)
    return "".join(lines[:first.lineno - 1] + lines[first.end_lineno:])
