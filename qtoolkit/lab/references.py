"""The chapters' references, taken from one place: book/references.bib."""

import re
from pathlib import Path

from qtoolkit.lab.source import put

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
    """One list item: authors, year, title, where, a link by DOI or arXiv number (a talk: to its slides; an old paper without any: its pages), and what it was used for.

    >>> as_markdown({"author": "Doe, Jane", "year": "1990", "title": "Old", "booktitle": "A Conference", "pages": "1--8"}, "Its idea.")
    '- Doe (1990). *Old*. A Conference. Pages 1–8. Its idea.'
    """
    if "doi" in entry:
        link = f"[doi:{entry['doi']}](https://doi.org/{entry['doi']})"
    elif "eprint" in entry:
        link = f"[arXiv:{entry['eprint']}](https://arxiv.org/abs/{entry['eprint']})"
    else:
        link = f"[slides]({entry['url']})" if "url" in entry else f"Pages {entry['pages'].replace('--', '–')}"
    where = entry.get("journal") or entry.get("booktitle") or entry.get("howpublished") or "arXiv preprint"
    title = entry["title"].replace("{", "").replace("}", "")
    return f"- {_authors(entry['author'])} ({entry['year']}). *{title}*. {where}. {link}." + (f" {note}" if note else "")


def references(**used_for: str) -> None:
    """Show the entries with these keys as a list, each followed by what this chapter takes from it.

    Raises ValueError for a key that the bibliography does not have.

    >>> references(han2016="Table 2.")
    - Han, Mao, Dally (2016). *Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and Huffman Coding*. International Conference on Learning Representations. [arXiv:1510.00149](https://arxiv.org/abs/1510.00149). Table 2.
    """

    entries = read_bibliography()
    if missing := sorted(set(used_for) - set(entries)):
        raise ValueError(f"not in {BIBLIOGRAPHY.name}: {', '.join(missing)}; it has: {', '.join(sorted(entries))}")
    text = "\n".join(as_markdown(entries[key], note) for key, note in used_for.items())
    put(text, text)
