"""Re-execute notebooks and store their outputs and widget state: what `make refresh` runs.

A refreshed notebook differs from the committed one only where its results differ: widget ids are
numbered instead of random, and time stamps are dropped. It is written only after every cell has run.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm.auto import tqdm

from qtoolkit.lab.results import replace_file

WIDGETS = "application/vnd.jupyter.widget-state+json"
MODEL_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def notebooks_in(paths: list[str]) -> list[Path]:
    """The notebooks named or lying below the folders named, in order."""
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such notebook or folder")
        found += sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def refresh(path: Path) -> None:
    """Run the notebook top to bottom in its own folder, then replace the file in one step."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", coalesce_streams=True,
                   resources={"metadata": {"path": str(path.parent)}}).execute()
    _drop_volatile_metadata(notebook)
    text = nbformat.writes(_with_stable_widget_ids(notebook, path.name))
    replace_file(path, (text + "\n").encode("utf-8"))


def _drop_volatile_metadata(notebook) -> None:
    """Time stamps and the exact Python version say nothing about the results."""
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


def _with_stable_widget_ids(notebook, name: str):
    """Replace random widget model ids by ids that depend only on the notebook's name and their order of appearance."""
    models = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    order = [model for model in MODEL_ID.findall(json.dumps(notebook.cells)) if model in models]
    for model in order:  # grows while it is read: a shown model's layout follows it
        order += [child for child in MODEL_ID.findall(json.dumps(models[model])) if child in models and child not in order]
    stable = {model: hashlib.md5(f"{name}/{index}".encode()).hexdigest() for index, model in enumerate(dict.fromkeys(order))}
    text = MODEL_ID.sub(lambda match: stable.get(match[0], match[0]), json.dumps(notebook))
    return nbformat.from_dict(json.loads(text))


def main(paths: list[str]) -> None:
    for path in tqdm(notebooks_in(paths), unit="notebook"):
        refresh(path)


if __name__ == "__main__":
    main(sys.argv[1:])
