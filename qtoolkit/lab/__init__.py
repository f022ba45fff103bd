"""What the notebooks use: data, networks, a training loop, figures, widgets, recorded results.

Names are loaded on first use, so that importing the lab costs next to nothing.
"""

from importlib import import_module

# These share their name with their module: bound at once, so that the function wins.
from qtoolkit.lab.references import references
from qtoolkit.lab.study_time import study_time
from qtoolkit.lab.table import table

_HOME = {
    "mnist": "data", "Digits": "data",
    "lenet_300_100": "models", "lenet_5": "models", "trained": "models",
    "photos": "photographs", "Photos": "photographs",
    "tokens": "minilm", "Tokens": "minilm", "sentences": "text", "sentence_pairs": "text",
    "fit": "train", "error_percent": "train",
    "show": "source", "say": "prose",
    "quiz": "widgets.quiz",
}
_MODULES = ("figures", "pictures", "results", "widgets")

__all__ = [*_HOME, *_MODULES, "references", "study_time", "table"]


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"qtoolkit.lab has no '{name}'; it has: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
