"""The table of what the course covers: no row vanishes, no link is broken, nothing is merely mentioned."""

import dataclasses
import json
import re
import sys
import types
from pathlib import Path

import pytest

from qtoolkit import coverage

EXPECTED = """
U1 U2 U3 U4 U5 C1 C2 C3 C4 D1 G1 G2 G3 G4 B1 N1 N2 N3 N4 N5 N6 N7 N8 N9 V1 V2 V3 Q1 Q2 Q3 Q4 Q5 Q6 Q7 S1 S2 S3 S4 S5 R1 R2 R3
P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 P11 Z1 Z2 Z3 I1 I2 I3 I4 M1 M2 M3 M4 M5 M6 H1 K1 E1 E2 E3 E4 E5 E6 E7 E8 E9 E10 E11 E12 E13 W1
DC1 DC2 DC3 DC4
seed-1 seed-1-search seed-1-codesign seed-1-unstructured seed-1-structured seed-1-distillation
seed-1.1 seed-1.1.1 seed-1.1.2 seed-1.1.3 seed-1.1.4 seed-1.1.5 seed-1.1.6 seed-1.1.7 seed-1.1.8
seed-1.2 seed-1.2.1 seed-1.2.2 seed-1.2.3
seed-2 seed-2.1 seed-2.2 seed-2.2-hashednets seed-2.2.1 seed-2.3 seed-2.4 seed-2.4.1
""".split()


def test_no_row_vanishes():
    assert [row.id for row in coverage.read_table(coverage.ROOT / coverage.TABLE)] == EXPECTED


def test_every_row_has_a_name_and_a_source():
    rows = coverage.read_table(coverage.ROOT / coverage.TABLE)
    assert all(row.name and row.source for row in rows)
    assert len({row.name for row in rows if not row.id.startswith("seed")}) == sum(not row.id.startswith("seed") for row in rows)


def test_no_link_of_the_course_is_broken():
    assert coverage.examine().broken == ()


def test_totals_count_the_filled_fields():
    report = coverage.examine()
    text = (coverage.ROOT / coverage.TABLE).read_text()
    assert report.totals["exercised"] == len(re.findall(r'^exercise = ".+"$', text, flags=re.M))
    assert report.totals["implemented"] == len(re.findall(r"^symbols = \[[^\]]", text, flags=re.M))


# A project of one row, whole; then each of its links broken in turn

CODE = '''
"""A module.

See: book/chapters/02-scales.ipynb#one-scale
"""
def scale():
    """A scale.

    See: book/chapters/02-scales.ipynb#one-scale
    """
class Box:
    """No link."""
    def weigh(self):
        """See: book/chapters/02-scales.ipynb#one-scale"""
'''
TESTS = '''
def test_scale():
    pass
class TestBox:
    def test_weigh(self):
        pass
def helper():
    pass
'''
ROW = {"name": "Scale", "source": "a paper", "symbols": ["fakeroom.scale"], "tests": ["tests/test_fake.py::test_scale"],
       "chapter": "02-scales#one-scale", "exercise": "ch02.scale"}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    for folder in ("book/chapters", "exercises/02-scales", "tests", "qtoolkit"):
        (tmp_path / folder).mkdir(parents=True)
    cells = [{"cell_type": "markdown", "source": ["# 02 Scales\n", "```python\n# no heading\n```\n", "## One *scale*\n"]},
             {"cell_type": "code", "source": ["# a comment\n"]}]
    (tmp_path / "book/chapters/02-scales.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "exercises/02-scales/key.json").write_text(json.dumps({"ch02.scale": {}}))
    (tmp_path / "tests/test_fake.py").write_text(TESTS)
    (tmp_path / "qtoolkit/fake.py").write_text(CODE)
    module = types.ModuleType("fakeroom")
    exec(CODE, module.__dict__)
    monkeypatch.setitem(sys.modules, "fakeroom", module)
    return tmp_path


def _examine(project: Path, **changed) -> coverage.Report:
    lines = [f"{key} = {json.dumps(value)}" for key, value in (ROW | changed).items()]
    (project / coverage.TABLE).write_text("[U1]\n" + "\n".join(lines))
    return coverage.examine(project)


def test_a_whole_row_is_counted_and_nothing_is_broken(project):
    report = _examine(project)
    assert report.broken == () and report.totals == {"implemented": 1, "tested": 1, "taught": 1, "exercised": 1}
    assert _examine(project, tests=["tests/test_fake.py::TestBox::test_weigh"]).broken == ()
    assert _examine(project, symbols=["fakeroom.Box.weigh"]).broken == ()


def test_an_empty_row_is_shown_and_not_broken(project):
    report = _examine(project, symbols=[], tests=[], chapter="", exercise="")
    assert report.broken == () and set(report.totals.values()) == {0}
    line = next(line for line in coverage.as_text(report).splitlines() if line.startswith("U1"))
    assert line.split() == ["U1", "Scale", "-", "-", "-", "-"]
    assert "1 rows: 0 implemented, 0 tested, 0 taught, 0 exercised" in coverage.as_text(report)


@pytest.mark.parametrize("changed, trouble", [
    ({"symbols": ["fakeroom.gone"]}, "symbol fakeroom.gone"),
    ({"symbols": ["no_such_module.thing"]}, "symbol no_such_module.thing"),
    ({"tests": ["tests/test_fake.py::test_gone"]}, "test tests/test_fake.py::test_gone does not exist"),
    ({"tests": ["tests/test_gone.py::test_scale"]}, "does not exist"),
    ({"tests": ["tests/test_fake.py"]}, "does not exist"),
    ({"tests": ["tests/test_fake.py::helper"]}, "does not exist"),
    ({"tests": ["tests/test_fake.py::test_weigh"]}, "does not exist"),
    ({"chapter": "02-scales#two-scales"}, "no such heading"),
    ({"chapter": "02-scales#no-heading"}, "no such heading"),
    ({"chapter": "02-scales#a-comment"}, "no such heading"),
    ({"chapter": "02-scales"}, "no such heading"),
    ({"chapter": "03-gone#one-scale"}, "no such heading"),
    ({"exercise": "ch02.gone"}, "exercise ch02.gone"),
    ({"symbols": []}, "only mentioned"),
    ({"tests": []}, "only mentioned"),
    ({"symbols": ["fakeroom.scale", "fakeroom.Box"]}, "docstring of fakeroom.Box has no line 'See: book/chapters/02-scales.ipynb#one-scale'"),
])
def test_each_broken_link_is_found_and_named(project, changed, trouble):
    broken = _examine(project, **changed).broken
    assert any(text.startswith("U1: ") and trouble in text for text in broken), broken


def test_a_module_that_cannot_be_imported_is_a_broken_link_not_a_crash(project, monkeypatch):
    (project / "bursting.py").write_text("raise OSError('library gone')")
    monkeypatch.syspath_prepend(project)
    (text, *_) = _examine(project, symbols=["bursting.thing"]).broken
    assert text == "U1: symbol bursting.thing: OSError: library gone"


def test_a_docstring_that_points_nowhere_is_found(project):
    file = project / "qtoolkit/fake.py"
    file.write_text(CODE.replace("#one-scale", "#three-scales", 1))
    (text,) = _examine(project).broken
    assert text == "qtoolkit/fake.py: See: book/chapters/02-scales.ipynb#three-scales has no such heading"
    file.write_text(CODE.replace("02-scales.ipynb", "09-gone.ipynb", 1))
    assert "09-gone" in _examine(project).broken[0]


@pytest.mark.parametrize("changed", [{"mention-only": True}, {"mention_only": True}, {"status": "mentioned"}, {"symbols": "fakeroom.scale"}, {"chapter": []}])
def test_there_is_no_way_to_mark_a_row_as_mention_only(project, changed):
    with pytest.raises(ValueError, match="row U1 has"):
        _examine(project, **changed)


def test_a_missing_field_is_refused(project):
    (project / coverage.TABLE).write_text('[U1]\nname = "Scale"\n')
    with pytest.raises(ValueError, match="row U1"):
        coverage.examine(project)


@pytest.mark.parametrize("title, slug", [  # as GitHub renders them
    ("Symmetric or asymmetric?", "symmetric-or-asymmetric"), ("Scale, zero point & codes", "scale-zero-point--codes"),
    ("8 bits, 4 bits", "8-bits-4-bits"), ("The `Scheme`", "the-scheme"), ("Two-bit *codes*", "two-bit-codes"), ("snake_case", "snake_case"),
])
def test_anchors_are_githubs(title, slug):
    assert coverage.slug(title) == slug


def test_json_holds_the_whole_report(project):
    report = _examine(project, tests=["tests/test_fake.py::test_gone"])
    assert json.loads(coverage.as_json(report)) == json.loads(json.dumps(dataclasses.asdict(report)))
