"""Every name that the lab offers is there, and importing a module never puts itself in a function's place."""

import importlib
import types
from pathlib import Path

import pytest

from qtoolkit import lab

MODULES = [path.stem for path in Path(lab.__file__).parent.glob("*.py") if path.stem not in ("__init__", "site", "refresh")]


@pytest.mark.parametrize("name", lab.__all__)
def test_every_name_is_there_whatever_was_imported_before(name):
    for module in MODULES:
        importlib.import_module(f"qtoolkit.lab.{module}")
    assert isinstance(getattr(lab, name), types.ModuleType) == (name in lab._MODULES)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match="no 'mnsit'; it has: mnist, Digits"):
        lab.mnsit
    assert "mnist" in dir(lab)
