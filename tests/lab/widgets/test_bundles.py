"""The scripts of the widgets: each file once, one scope without clashes, no address of another host, small."""

import re

import pytest

from qtoolkit.lab import widgets
from qtoolkit.lab.widgets.bundle import ESM, bundle, modules

ENTRIES = sorted({kind.module for kind in (getattr(widgets, name) for name in widgets.__all__) if isinstance(kind, type) and "module" in vars(kind)})
DECLARED = re.compile(r"^(?:const|let|function|class) (\w+)", flags=re.M)


def test_every_widget_has_a_script():
    assert ENTRIES == sorted(path.name for path in ESM.glob("*.js") if "export default" in path.read_text()), "and every script a widget in __all__"


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bundle_is_self_contained(name):
    script = bundle(name)
    assert not re.search(r"^\s*import\b|\bimport\(", script, flags=re.M)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", script)
    assert script.count("export ") == script.count("export default") == 1
    names = [declared for module in modules(name) for declared in DECLARED.findall((ESM / module).read_text())]
    assert sorted(names) == sorted(set(names)), "two files declare the same name"


@pytest.mark.parametrize("name", ENTRIES)
def test_imports_come_first_and_once(name):
    order = modules(name)
    assert order[-1] == name and len(order) == len(set(order))
    for place, module in enumerate(order):
        assert set(modules(module)[:-1]) <= set(order[:place])


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bundle_is_small(name):
    assert len(bundle(name).encode()) < 20_000, "every widget of a notebook carries its script"


def test_imported_names_exist():
    for path in ESM.glob("*.js"):
        for names, module in re.findall(r'^import \{([^}]*)\} from "\./([\w.]+)";', path.read_text(), flags=re.M):
            exported = re.findall(r"^export (?:const|function) (\w+)", (ESM / module).read_text(), flags=re.M)
            assert set(map(str.strip, names.split(","))) <= set(exported), path.name
