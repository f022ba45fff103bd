"""`qt` starts fast, says what it can do, and ends with an exit code that tells."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from qtoolkit import cli, coverage, doctor

COMMANDS = {"doctor", "coverage", "reproduce", "bench", "build", "verify", "check", "list",
            "compress", "inspect", "evaluate", "import-songhan"}


def _qt(*arguments: str):
    return CliRunner().invoke(cli.app, list(arguments))


def test_every_command_is_there_and_explains_itself():
    listed = _qt("--help").output
    for command in COMMANDS:
        assert command in listed
        run = _qt(command, "--help")
        assert run.exit_code == 0 and len(run.output.split()) > 8


def test_starting_qt_loads_no_torch():
    """Structural, not timed: what `qt --help` needs is typer alone."""
    code = ("import sys\nsys.argv = ['qt', '--help']\nfrom qtoolkit import cli\ntry:\n    cli.main()\nexcept SystemExit:\n    pass\n"
            "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'safetensors', 'tqdm', 'IPython', 'anywidget', 'nbformat'}\n"
            "print('LOADED', sorted(heavy & set(sys.modules)))")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LOADED []" in run.stdout, run.stdout[-300:] + run.stderr


def test_doctor_prints_text_or_json():
    text = _qt("doctor")
    assert text.exit_code == 0 and "versions" in text.output
    assert "findings" in json.loads(_qt("doctor", "--json").output)


def test_doctor_fails_when_the_course_cannot_run(monkeypatch):
    report = doctor.examine()
    report["findings"].append({"level": "error", "what": "no torch", "advice": "install it"})
    monkeypatch.setattr(doctor, "examine", lambda: report)
    run = _qt("doctor")
    assert run.exit_code == 1 and "no torch" in run.output and "install it" in run.output


def test_coverage_fails_on_a_broken_link_alone(monkeypatch):
    good = coverage.Report((), {"implemented": 0}, ())
    monkeypatch.setattr(coverage, "examine", lambda: good)
    assert _qt("coverage").exit_code == 0
    monkeypatch.setattr(coverage, "examine", lambda: coverage.Report((), {"implemented": 0}, ("U1: no such test",)))
    run = _qt("coverage", "--json")
    assert run.exit_code == 1 and json.loads(run.output)["broken"] == ["U1: no such test"]
    assert "BROKEN U1: no such test" in _qt("coverage").output


def test_reproduce_lists_its_recipes_and_refuses_others():
    run = _qt("reproduce")
    assert run.exit_code == 0 and "lenets" in run.output
    run = _qt("reproduce", "alexnet")
    assert run.exit_code == 2 and "lenets" in run.output + (run.stderr or "")


def test_reproduce_writes_or_says_why_not(monkeypatch, tmp_path):
    from qtoolkit.lab import reproduce

    def impossible():
        """Never works."""
        raise RuntimeError("needs the whole of MNIST")

    monkeypatch.setattr(reproduce, "RECIPES", {"good": lambda: tmp_path / "good.json", "bad": impossible})
    run = _qt("reproduce", "good")
    assert run.exit_code == 0 and run.output == "wrote good.json\n"
    run = _qt("reproduce", "bad")
    assert run.exit_code == 1 and run.stderr == "qt reproduce bad: needs the whole of MNIST\n"


@pytest.mark.parametrize("arguments", [["--no-such"], ["no-such-command"], ["bench", "--threads", "0"]])
def test_what_is_not_understood_ends_with_usage(arguments):
    assert _qt(*arguments).exit_code == 2


def test_a_network_is_compressed_inspected_and_evaluated_from_the_command_line(tmp_path):
    file = tmp_path / "lenet.qtdc"
    written = json.loads(_qt("compress", "lenet-300-100", str(file), "--json").output)
    assert written["bytes"] == file.stat().st_size and written["ratio"] > 30
    assert json.loads(_qt("inspect", str(file), "--json").output)["bytes"] == written["bytes"]
    measured = json.loads(_qt("evaluate", str(file), "--json").output)
    assert 0 < measured["error_percent"] < 100 and {"ratio", "bytes", "dense_bytes", "layers"} <= set(measured)


@pytest.mark.parametrize("arguments", [("inspect", "{}/missing"), ("evaluate", "{}/cut"), ("import-songhan", "{}/cut", "{}/out")])
def test_a_file_that_is_none_is_told_not_traced(tmp_path, arguments):
    (tmp_path / "cut").write_bytes(b"QTDC")
    run = _qt(*(argument.format(tmp_path) for argument in arguments))
    assert run.exit_code == 1 and run.output.startswith(f"qt {arguments[0]}: ") and "Traceback" not in run.output


def test_an_unknown_network_lists_the_known_ones(tmp_path):
    run = _qt("compress", "resnet", str(tmp_path / "x"))
    assert run.exit_code == 2 and "lenet-5" in run.output
