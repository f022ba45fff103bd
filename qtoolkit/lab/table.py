"""Small tables of measured numbers."""

import torch

from qtoolkit.lab.source import put


def table(columns: dict[str, object], digits: int = 3) -> None:
    """Show columns side by side: {heading: tensor or list}. Reals get `digits` significant digits, integers all of theirs.

    Raises ValueError when the columns differ in length.

    >>> table({"bits": torch.tensor([8, 4]), "error": [0.5, 12.3456]})
    bits  error
       8    0.5
       4   12.3
    """
    cells = {heading: [_text(value, digits) for value in _listed(column)] for heading, column in columns.items()}
    lengths = {heading: len(column) for heading, column in cells.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"the columns have different lengths: {lengths}")
    put(_markdown(cells), _plain(cells))


def _listed(column) -> list:
    return column.detach().flatten().tolist() if isinstance(column, torch.Tensor) else list(column)


def _text(value, digits: int) -> str:
    """One cell: 1234567 -> 1,234,567; 0.000123456 -> 0.000123; other things as they print.

    >>> [_text(value, 3) for value in (1234567, 0.000123456, 12345.6, -0.0, "fc1", True)]
    ['1,234,567', '0.000123', '12,346', '0', 'fc1', 'yes']
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value + 0.0:,.0f}" if abs(value) >= 10**digits else f"{value + 0.0:.{digits}g}"
    return str(value)


def _markdown(cells: dict[str, list[str]]) -> str:
    r"""The table in Markdown; a bar inside a cell is no border.

    >>> print(_markdown({"score": ["|w|"]}))
    | score |
    |---:|
    | \|w\| |
    """
    cells = {heading.replace("|", r"\|"): [text.replace("|", r"\|") for text in column] for heading, column in cells.items()}
    lines = ["| " + " | ".join(cells) + " |", "|" + "---:|" * len(cells)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in zip(*cells.values(), strict=True)])


def _plain(cells: dict[str, list[str]]) -> str:
    widths = [max(map(len, [heading, *column])) for heading, column in cells.items()]
    rows = [list(cells), *zip(*cells.values(), strict=True)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
