"""Show the kernels' C++: the lines that open a file and explain it, or one function."""

from pathlib import Path

from qtoolkit import kernels
from qtoolkit.lab.source import put

FOLDER = Path(kernels.__file__).parent / "csrc"


def native_source(file: str, part: str = "") -> str:
    """The comment that opens a C++ file or, from the first line that holds `part`, all up to its closing brace.

    Raises FileNotFoundError for a file that is not there, ValueError for a part that is not in it.

    >>> native_source("simd/avx512vnni.h", "Sums zero()")
    'static Sums zero() { return {_mm512_setzero_si512()}; }\\n'
    """
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    if not part:
        end = next(i for i, line in enumerate(lines) if not line.startswith("//"))
        return "\n".join(lines[:end]) + "\n"
    start = next((i for i, line in enumerate(lines) if part in line), None)
    if start is None:
        raise ValueError(f"{file} has no line with {part!r}; look at {FOLDER / file}")
    indent = len(lines[start]) - len(lines[start].lstrip())
    depth, taken = 0, []
    for line in lines[start:]:
        taken.append(line[indent:])
        depth += line.count("{") - line.count("}")
        if depth == 0 and ("}" in line or ";" in line):
            break
    return "\n".join(taken) + "\n"


def show_native(file: str, part: str = "") -> None:
    """Show `native_source`, highlighted in a notebook."""
    text = f"// in qtoolkit/kernels/csrc/{file}\n{native_source(file, part)}"
    put(f"```cpp\n{text}```", text)
