"""A measurement that was interrupted goes on where it stopped."""

import pytest
import torch

from qtoolkit.lab.journal import Journal


def test_a_part_is_measured_once(tmp_path):
    calls = []
    for _ in range(2):
        assert Journal("long", folder=tmp_path).once("Part 1, seed 0", lambda: calls.append(1) or {"error": 1.5}) == {"error": 1.5}
    assert len(calls) == 1


def test_an_interrupted_part_leaves_nothing(tmp_path):
    journal = Journal("long", folder=tmp_path)
    journal.once("one", lambda: 1)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.once("two", interrupted)
    assert [path.name for path in journal.folder.iterdir()] == ["one.json"]
    assert journal.once("two", lambda: 2) == 2


def test_tensors_come_back_bit_for_bit(tmp_path):
    made = {"w": torch.randn(3, 4), "codes": torch.arange(5).reshape(5, 1).expand(5, 2)}
    first = Journal("long", folder=tmp_path).tensors("net", lambda: made)
    again = Journal("long", folder=tmp_path).tensors("net", lambda: pytest.fail("made twice"))
    assert all(torch.equal(first[name], made[name]) and torch.equal(again[name], made[name]) for name in made)


def test_parts_of_other_settings_are_not_taken(tmp_path):
    Journal("long", {"seed": 0}, tmp_path).once("one", lambda: 0)
    assert Journal("long", {"seed": 1}, tmp_path).once("one", lambda: 1) == 1


def test_nothing_is_left_after_forget(tmp_path):
    journal = Journal("long", folder=tmp_path)
    journal.once("one", lambda: 1)
    journal.forget()
    assert not journal.folder.exists()
    journal.forget()


def test_nan_is_no_result(tmp_path):
    with pytest.raises(ValueError):
        Journal("long", folder=tmp_path).once("one", lambda: float("nan"))
