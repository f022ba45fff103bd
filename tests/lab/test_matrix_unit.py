"""The recorded matrix unit: every part is there, what the chapter says of it holds, and a machine without one is told so."""

import pytest

from qtoolkit.kernels import info
from qtoolkit.lab import matrix_unit, results


def test_the_recorded_file_carries_what_the_chapter_says():
    recorded = results.load(matrix_unit.NAME)
    took = {row["rows"]: row for row in recorded["batches"]}
    assert took[16]["tiles_us"] / took[4]["tiles_us"] < 2 < took[16]["vectors_us"] / took[4]["vectors_us"]
    assert all(row["tiles_us"] < row["vectors_us"] for rows, row in took.items() if rows >= 3)
    roads = {row["name"]: row["us"] for row in recorded["roads"]}
    assert roads["signs by tiles"] < roads["signs by vectors"] < roads["int8 by vectors"] < roads["float32 (torch)"]
    assert 0.8 < roads["signs by tiles"] / roads["int8 by tiles"] < 1.25
    assert roads["int8 by tiles, all weights 0"] < roads["int8 by tiles"]
    peaks = recorded["peaks"]
    assert peaks["AVX-512 VNNI and popcount"] < peaks["signs, exclusive or and count"] < peaks["AMX tiles"]


def test_without_a_unit_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(matrix_unit, "info", lambda: {"isas_available": ["avx2", "scalar"]})
    with pytest.raises(RuntimeError, match="this machine has none.*avx2, scalar.*AMX"):
        matrix_unit.reproduce()


@pytest.mark.skipif(matrix_unit.UNIT not in info()["isas_available"], reason="hardware: no matrix unit on this machine")
def test_every_part_can_be_measured_and_the_choice_is_put_back(monkeypatch):
    before = info()["isa"]
    written = {}
    monkeypatch.setattr(matrix_unit.results, "record", lambda name, parts, seed: written.update(parts))
    monkeypatch.setattr(matrix_unit, "fastest", lambda runs, seconds: {name: (run(), 1.0)[1] for name, run in runs.items()})
    matrix_unit.reproduce()
    assert set(written) == {"peaks", "batches", "roads"} and info()["isa"] == before
