"""One script out of several modules: a static page and a saved notebook have no module server to import from."""

import re
from functools import cache
from pathlib import Path

ESM = Path(__file__).parent / "esm"
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', flags=re.M)
COMMENT = re.compile(r"^\s*//.*\n|^/\*\*[\s\S]*?\*/\n", flags=re.M)
INDENTATION = re.compile(r"^ +", flags=re.M)


@cache
def bundle(name: str) -> str:
    """The module `name` and everything it imports, each file once, imports first, without comments and indentation.

    All files share one scope in the end, so no two may declare the same name; a test checks it.
    Raises FileNotFoundError if a module is missing.

    >>> bundle("maths.js").count("function roundHalfEven")
    1
    """
    parts = [COMMENT.sub("", IMPORT.sub("", (ESM / module).read_text(encoding="utf-8"))) for module in modules(name)]
    return re.sub(r"^export (?!default)", "", INDENTATION.sub("", "".join(parts)), flags=re.M)


def modules(name: str) -> list[str]:
    """The files that make up `name`, in the order in which they must be read.

    >>> modules("figures.js")
    ['maths.js', 'dom.js', 'figures.js']
    """
    order: list[str] = []
    for needed in IMPORT.findall((ESM / name).read_text(encoding="utf-8")):
        order += [module for module in modules(needed) if module not in order]
    return [*order, name]
