"""What the course covers, row by row, and whether every link of the table leads somewhere.

The table is `book/coverage.toml`: symbols, tests, chapter section and exercise of every technique. Links are followed both ways: from
the table to code, tests, headings and exercises, and from the `See:` lines of docstrings to headings.
"""

import ast
import importlib
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = "book/coverage.toml"
SEE = re.compile(r"See: book/chapters/([\w-]+)\.ipynb#([\w-]+)")
_LINE = "{:20}{:48}{:34}{:>5}  {:38}{}"
STAGES = {"implemented": "symbols", "tested": "tests", "taught": "chapter", "exercised": "exercise"}


@dataclass(frozen=True)
class Row:
    """One technique. Empty fields are not built yet."""

    id: str
    name: str
    source: str
    symbols: tuple[str, ...]
    tests: tuple[str, ...]
    chapter: str
    exercise: str


@dataclass(frozen=True)
class Report:
    """The table with the totals of each stage and every broken link in words."""

    rows: tuple[Row, ...]
    totals: dict[str, int]
    broken: tuple[str, ...]


def examine(root: Path = ROOT) -> Report:
    """Read the table of the project at `root` and follow every link of it."""
    rows = read_table(root / TABLE)
    totals = {stage: sum(bool(getattr(row, field)) for row in rows) for stage, field in STAGES.items()}
    return Report(rows, totals, tuple(_broken_rows(rows, root)) + tuple(_broken_docstrings(root)))


def read_table(path: Path) -> tuple[Row, ...]:
    """The rows in order. Raises ValueError where a row has other fields than a Row, or fields of another type."""
    types = {field.name: list if field.type != str else str for field in fields(Row) if field.name != "id"}
    rows = []
    for key, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if set(entry) != set(types) or any(type(entry[name]) is not kind for name, kind in types.items()):
            raise ValueError(f"row {key} has {sorted(entry)}, expected exactly {sorted(types)}, lists for symbols and tests, texts for the rest")
        rows.append(Row(key, **{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}))
    return tuple(rows)


def as_json(report: Report) -> str:
    return json.dumps(asdict(report), indent=2)


def as_text(report: Report) -> str:
    """The table, one line a row, `-` where nothing is built yet; then totals and broken links."""
    lines = [_LINE.format("ID", "technique", "symbol", "tests", "chapter", "exercise").rstrip()]
    for row in report.rows:
        symbol = ".".join(row.symbols[0].split(".")[-2:]) + f" +{len(row.symbols) - 1}" * (len(row.symbols) > 1) if row.symbols else "-"
        chapter = re.sub(r"^(\d+)[\w-]*", r"\1", row.chapter)
        lines.append(_LINE.format(row.id, row.name[:46], symbol, len(row.tests) or "-", chapter or "-", row.exercise or "-").rstrip())
    lines += ["", f"{len(report.rows)} rows: " + ", ".join(f"{count} {stage}" for stage, count in report.totals.items())]
    lines += [f"BROKEN {text}" for text in report.broken]
    return "\n".join(lines)


# From the table to what it names


def _broken_rows(rows: tuple[Row, ...], root: Path) -> Iterator[str]:
    exercises = exercise_ids(root)
    for row in rows:
        yield from (f"{row.id}: symbol {name}: {why}" for name in row.symbols if (why := _symbol_trouble(name)))
        yield from (f"{row.id}: test {node} does not exist" for node in row.tests if not has_test(root, node))
        if row.exercise and row.exercise not in exercises:
            yield f"{row.id}: exercise {row.exercise} is neither in an exercises/*/key.json nor a question of a chapter"
        if row.chapter:
            yield from _broken_chapter(row, root)


def _broken_chapter(row: Row, root: Path) -> Iterator[str]:
    chapter, _, anchor = row.chapter.partition("#")
    if not has_heading(root, chapter, anchor):
        yield f"{row.id}: chapter {row.chapter} has no such heading"
    if not (row.symbols and row.tests):
        yield f"{row.id}: taught in {row.chapter} but only mentioned: it needs a symbol and a test"
    for name in row.symbols:
        if not _symbol_trouble(name) and chapter not in (where for where, _ in SEE.findall(_docstring(name))):
            yield f"{row.id}: the docstring of {name} has no line 'See: book/chapters/{row.chapter.replace('#', '.ipynb#')}'"


def resolve(name: str) -> Any:
    """The object that a dotted name stands for. Raises ImportError or AttributeError.

    >>> resolve("qtoolkit.coverage.Row").__name__
    'Row'
    """
    module, rest = name, []
    while True:
        try:
            found = importlib.import_module(module)
            break
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name) or "." not in module:
                raise
            module, _, attribute = module.rpartition(".")
            rest.insert(0, attribute)
    for attribute in rest:
        found = getattr(found, attribute)
    return found


def _symbol_trouble(name: str) -> str:
    """Why the symbol cannot be had: whatever its import raises; empty if it can."""
    try:
        resolve(name)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _docstring(name: str) -> str:
    return inspect.getdoc(resolve(name)) or ""


def has_test(root: Path, node: str) -> bool:
    """Whether `tests/.../test_x.py::test_y` (or `::TestClass::test_y`) is written there; nothing is run."""
    path, *names = node.split("::")
    if not (names and path.startswith("tests/") and (root / path).is_file()):
        return False
    scope = ast.parse((root / path).read_text(encoding="utf-8")).body
    for name in names:
        found = next((part for part in scope if getattr(part, "name", None) == name), None)
        if found is None:
            return False
        scope = found.body
    return names[-1].startswith("test")


def has_heading(root: Path, chapter: str, anchor: str) -> bool:
    """Whether the chapter's notebook has a heading with this slug."""
    path = root / "book" / "chapters" / f"{chapter}.ipynb"
    return path.is_file() and anchor in heading_slugs(json.loads(path.read_text(encoding="utf-8")))


def heading_slugs(notebook: dict) -> set[str]:
    """Anchors of all headings in a notebook, as GitHub and the book make them.

    >>> cell = {"cell_type": "markdown", "source": ["## Scale, `S` & *zero* point\\n", "text\\n", "### Two-bit codes"]}
    >>> sorted(heading_slugs({"cells": [cell]}))
    ['scale-s--zero-point', 'two-bit-codes']
    """
    texts = ("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    plain = "\n".join(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S) for text in texts)
    return {slug(title) for title in re.findall(r"^#{1,6}\s+(.+?)\s*#*\s*$", plain, flags=re.M)}


def slug(title: str) -> str:
    """GitHub's anchor of a heading: lower case, punctuation dropped, every space a hyphen."""
    return re.sub(r"[^\w\- ]", "", title.lower().replace("*", "")).replace(" ", "-")


def exercise_ids(root: Path) -> set[str]:
    """Ids of all graded exercises (exercises/*/key.json)."""
    found: set[str] = set()
    for path in sorted(root.glob("exercises/*/key.json")):
        found |= set(json.loads(path.read_text(encoding="utf-8")))
    return found


# From docstrings to chapters


def see_links(root: Path) -> Iterator[tuple[str, str, str]]:
    """(file, chapter, anchor) of every `See:` line in the package's docstrings."""
    for path in sorted((root / "qtoolkit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                for chapter, anchor in SEE.findall(ast.get_docstring(node) or ""):
                    yield path.relative_to(root).as_posix(), chapter, anchor


def _broken_docstrings(root: Path) -> Iterator[str]:
    for file, chapter, anchor in see_links(root):
        if not has_heading(root, chapter, anchor):
            yield f"{file}: See: book/chapters/{chapter}.ipynb#{anchor} has no such heading"
