"""`qt doctor` tells one screen of truth, and fails only when the course cannot run."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from qtoolkit import doctor


def _levels(report) -> dict[str, str]:
    return {finding["what"]: finding["level"] for finding in report["findings"]}


def _found(report, text: str) -> dict:
    matching = [finding for finding in report["findings"] if text in finding["what"]]
    assert matching, f"nothing about {text!r} among {report['findings']}"
    return matching[0]


def test_it_is_one_screen_of_facts():
    report = doctor.examine()
    text = doctor.as_text(report)
    assert len(text.splitlines()) <= 24
    for word in ("versions", "torch", "platform", "kernels", "instruction set", "threads", "mnist", "networks", "free disk", "npm", "Chromium"):
        assert word in text
    assert json.loads(doctor.as_json(report)).keys() == report.keys()
    assert not doctor.prevents_the_course(report) and "The course can run." in text


def test_every_finding_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    monkeypatch.setenv("QT_CACHE", str(tmp_path / "not" / "made" / "yet"))
    report = doctor.examine()
    assert all(finding["advice"] and finding["level"] in ("error", "warning", "note") for finding in report["findings"])
    assert _found(report, "1 MB are free")["level"] == "warning" and "QT_CACHE" in _found(report, "1 MB are free")["advice"]
    for tool in doctor.TOOLS:
        assert _found(report, f"{tool} was not found")["level"] == "note"
    assert _found(report, "MNIST is not here yet")["level"] == "note"
    assert not doctor.prevents_the_course(report)


def test_a_damaged_file_of_data_is_seen(monkeypatch, tmp_path):
    monkeypatch.setenv("QT_CACHE", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(b"nonsense")
    report = doctor.examine()
    assert report["data"]["sources"]["mnist"] == "damaged" and _found(report, "damaged")


def test_the_fallback_is_told_loudly_with_its_reason(monkeypatch):
    from qtoolkit import kernels

    facts = {"native": False, "isa": "reference", "isas_available": [], "threads": 1, "library": None, "reason": "no compiler was there"}
    monkeypatch.setattr(kernels, "info", lambda: facts, raising=False)
    report = doctor.examine()
    assert "FALLBACK" in doctor.as_text(report) and _found(report, "no compiler was there")["level"] == "warning"
    assert not doctor.prevents_the_course(report)


def test_kernels_that_cannot_even_be_asked_do_not_silence_the_doctor(monkeypatch):
    from qtoolkit import kernels

    def broken():
        raise OSError("libqtoolkit_kernels: invalid ELF header")

    monkeypatch.setattr(kernels, "info", broken, raising=False)
    assert "invalid ELF header" in doctor.as_text(doctor.examine())


def test_other_versions_than_the_pinned_ones_are_named(monkeypatch):
    monkeypatch.setattr(doctor, "_pins", lambda: {"torch": "9.9.9"})
    finding = _found(doctor.examine(), "torch")
    assert finding["level"] == "warning" and "9.9.9" in finding["what"] and finding["advice"] == "pip install torch==9.9.9"


def test_the_pins_are_the_package_s_own():
    pins = doctor._pins()
    assert {"torch", "numpy", "safetensors", "typer"} <= set(pins)


def test_an_old_python_prevents_the_course(monkeypatch):
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    assert doctor.prevents_the_course(doctor.examine())


def test_altered_weights_prevent_the_course(monkeypatch, tmp_path):
    from qtoolkit.lab import models

    (tmp_path / "lenet-5.safetensors").write_bytes(b"")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    report = doctor.examine()
    assert doctor.prevents_the_course(report) and report["networks"]["lenet-5"] == "altered or missing"


@pytest.mark.parametrize("missing", ["torch", "numpy", "jupyterlab"])
def test_a_missing_package_is_named_not_a_traceback(missing):
    """A fresh process in which the package cannot be imported and its metadata are gone."""
    code = (f"import sys, importlib.metadata as m\nsys.modules[{missing!r}] = None\nversion = m.version\n"
            f"def gone(name):\n    if name == {missing!r}: raise m.PackageNotFoundError(name)\n    return version(name)\n"
            "m.version = gone\nfrom qtoolkit.cli import main\nsys.argv = ['qt', 'doctor']\nmain()")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{missing} is not installed" in run.stdout and "Traceback" not in run.stderr, run.stderr
    assert run.returncode == (0 if missing == "jupyterlab" else 1)
