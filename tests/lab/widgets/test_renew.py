"""Committed notebooks carry the scripts of today."""

import json
from pathlib import Path

import pytest

from qtoolkit.lab.refresh import WIDGETS
from qtoolkit.lab.widgets import NumberLine
from qtoolkit.lab.widgets.renew import main, renewed

ROOT = Path(__file__).resolve().parents[3]


def _notebook(script: str) -> dict:
    state = {"_anywidget_id": "qtoolkit.lab.widgets.number_line.NumberLine", "_esm": script, "_css": NumberLine._css, "bits": 3}
    return {"cells": [], "metadata": {"widgets": {WIDGETS: {"state": {"a": {"state": state}, "b": {"state": {}}}}}}}


@pytest.mark.parametrize("path", sorted(ROOT.glob("book/chapters/*.ipynb")), ids=lambda path: path.stem)
def test_a_chapter_carries_the_scripts_of_today(path):
    assert renewed(json.loads(path.read_text())) == 0, "python -m qtoolkit.lab.widgets.renew book/chapters"


def test_only_script_and_style_are_renewed(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(_notebook("old script")))
    main([str(tmp_path)])
    assert json.loads(path.read_text()) == _notebook(NumberLine._esm)


def test_what_is_up_to_date_is_left_alone(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(_notebook(NumberLine._esm)))
    before = path.stat().st_mtime_ns
    main([str(tmp_path)])
    assert path.stat().st_mtime_ns == before
