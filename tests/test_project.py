"""The project's own promises: one set of pins, set-up that is not repeated, a `make lab` that starts anywhere."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FIRST_CHAPTER = "book/chapters/00-start-here.ipynb"


def _pins(lines) -> dict[str, str]:
    found = (re.fullmatch(r"([\w.-]+)(?:\[.*\])?==([\w.]+)", line.strip()) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def _project_pins() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return _pins(project["dependencies"] + sum(project["optional-dependencies"].values(), []))


def test_every_requirement_is_pinned_exactly():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    assert len(_project_pins()) == len(wanted), "pyproject.toml: pin each requirement with =="


def test_environment_has_the_same_pins_as_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip_part = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    conda = [entry.replace("pytorch-cpu=", "torch=").replace("=", "==") for entry in environment if isinstance(entry, str)]
    pins = _pins(pip_part) | {name: version for name, version in _pins(conda).items() if name != "python"}
    assert pins == _project_pins()


def test_constraints_agree_with_pyproject():
    constraints = _pins((ROOT / "constraints.txt").read_text().splitlines())
    project = {name: version for name, version in _project_pins().items() if name != "torch"}
    assert {name: constraints.get(name) for name in project} == project


def test_tracked_files_stay_small():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("hardware: not a git checkout")
    large = [name for name in tracked.stdout.split("\0") if name and (ROOT / name).stat().st_size > 2_000_000]
    assert large == []


def _make(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True)


def _set_up_by_make() -> bool:
    return (ROOT / ".venv/.test").exists() and Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()


needs_make = pytest.mark.skipif(not _set_up_by_make(), reason="hardware: this environment was not set up by make")


@needs_make
def test_a_second_run_repeats_no_set_up():
    for target in ("test", "lab"):
        plan = _make("-n", target)
        assert plan.returncode == 0, plan.stderr
        assert "pip install" not in plan.stdout and "venv" not in plan.stdout.replace(".venv/bin", "")


def test_an_old_python_is_refused_with_advice(tmp_path):
    old = tmp_path / "python-of-yesterday"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    plan = _make(f"PYTHON={old}", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/.created")
    assert plan.returncode != 0
    assert "needs Python 3.11 or newer" in plan.stdout and "make PYTHON=" in plan.stdout


@needs_make
def test_make_lab_serves_the_first_chapter_although_the_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
        lab = subprocess.Popen(["make", "lab", f"LAB_ARGS=--no-browser --port={port}"], cwd=ROOT, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            address = _printed_address(lab)
            assert f":{port}/" not in address
            assert FIRST_CHAPTER in address
            server, token = re.fullmatch(r"(http://[^/]+)/.*token=(\w+)", address).groups()
            chapter = f"{server}/api/contents/{FIRST_CHAPTER}?content=0&token={token}"
            assert _status(chapter) == 200
        finally:
            os.killpg(lab.pid, signal.SIGKILL)
            lab.wait()


def _status(address: str, tries: int = 50) -> int:
    """The address is printed just before the server listens: knock until it opens."""
    for _ in range(tries):
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            time.sleep(0.2)
    pytest.fail(f"nothing listens at {address}")


def _printed_address(lab: subprocess.Popen, seconds: float = 120) -> str:
    deadline, seen = time.monotonic() + seconds, []
    while time.monotonic() < deadline:
        line = lab.stdout.readline()
        seen.append(line)
        if match := re.search(r"http://(?:127\.0\.0\.1|localhost)\S*token=\w+", line):
            return match[0]
        if not line and lab.poll() is not None:
            break
    pytest.fail("make lab printed no address:\n" + "".join(seen[-20:]))
