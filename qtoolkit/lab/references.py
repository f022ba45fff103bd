"""The chapters' references, taken from one place: book/references.bib."""

import re
from pathlib import Path

BIBLIOGRAPHY = Path(__file__).resolve().parents[2] / "book" / "references.bib"


def read_bibliography(path: Path = BIBLIOGRAPHY) -> dict[str, dict[str, str]]:
    """All entries of a BibTeX file as {key: {field: value}}; fields are `name = {value}`, one a line."""
    entries = re.findall(r"^@\w+\{([^,\s]+),\s*\n(.*?)^\}", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {key: dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", body, flags=re.M)) for key, body in entries}


def _authors(names: str) -> str:
    """Up to three family names; more become 'et al.'."""
    family = [name.split(",")[0].strip() for name in names.split(" and ")]
    return ", ".join(family) if len(family) <= 3 else f"{family[0]} et al."


def as_markdown(entry: dict[str, str], note: str = "") -> str:
    """One list item: authors, year, title, where, a link by DOI or arXiv number, and what it was used for."""
    if "doi" in entry:
        link = f"[doi:{entry['doi']}](https://doi.org/{entry['doi']})"
    else:
        link = f"[arXiv:{entry['eprint']}](https://arxiv.org/abs/{entry['eprint']})"
    where = entry.get("journal") or entry.get("booktitle") or "arXiv preprint"
    title = entry["title"].replace("{", "").replace("}", "")
    return f"- {_authors(entry['author'])} ({entry['year']}). *{title}*. {where}. {link}." + (f" {note}" if note else "")


def references(**used_for: str) -> None:
    """Show the entries with these keys as a list, each followed by what this chapter takes from it.

    >>> references(gholami2021="Section III-B is this chapter.")  # doctest: +SKIP
    """
    from IPython.display import Markdown, display

    entries = read_bibliography()
    if missing := sorted(set(used_for) - set(entries)):
        raise ValueError(f"not in {BIBLIOGRAPHY.name}: {', '.join(missing)}; it has: {', '.join(sorted(entries))}")
    display(Markdown("\n".join(as_markdown(entries[key], note) for key, note in used_for.items())))
