"""The chapters in JupyterLab: a real server and a real browser run every cell, then every control of every widget is moved by keyboard and mouse."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from browsing import WIDGET, launched, move_everything, opened

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "book/chapters").glob("*.ipynb"))
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
WHOLE = {"windowingMode": "none"}  # draw every cell, not only those near the window


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of what the chapters touch: a run must not change the committed notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("book", "exercises"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("_build", "_site", ".ipynb_checkpoints"))
    for path in (folder / "book/chapters").glob("*.ipynb"):
        _forget_the_run(path)
    return folder


def _forget_the_run(path: Path) -> None:
    """Take outputs and numbers away: what the page shows afterwards was made by the run itself."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook["metadata"].pop("widgets", None)
    path.write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture(scope="module")
def lab(project):
    """The address of a JupyterLab server in that copy, with settings of its own."""
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root", "--IdentityProvider.token=",
               "--ServerApp.password=", "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
               f"--ServerApp.root_dir={project}"]
    tracker = project / ".settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text(json.dumps(WHOLE))
    settings = {"JUPYTERLAB_SETTINGS_DIR": str(project / ".settings"), "JUPYTERLAB_WORKSPACES_DIR": str(project / ".workspaces")}
    with (project / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=project, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _address(project / "server.log")
    finally:
        server.terminate()
        server.wait(timeout=30)


def _address(log: Path, seconds: float = 120) -> str:
    """The address that the server prints, once it answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := re.search(r"http://127\.0\.0\.1:[1-9]\d*/", log.read_text()):
            try:
                urllib.request.urlopen(found[0] + "api", timeout=5).close()
                return found[0]
            except OSError:
                pass
        time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def browser():
    with launched() as running:
        yield running


def _answer(dialog) -> None:
    """Press the last button, the default, of what JupyterLab asks on a busy machine (which kernel? wait for the server?), and report it."""
    print("JupyterLab asked:", dialog.inner_text())
    dialog.locator(".jp-Dialog-footer button").last.click()


PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map(prompt => prompt.textContent.trim())"


def _run_all(page) -> None:
    """Run every cell and wait until each has its number. The notebooks come without numbers, so none can be left over."""
    page.add_locator_handler(page.locator(".jp-Dialog"), _answer)  # whenever one lies over what is to be clicked
    page.wait_for_selector(IDLE, timeout=120_000, state="attached")
    for _ in range(20):  # the menu does nothing until the kernel's session is connected
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
        page.locator('li[data-command="runmenu:run-all"]').click()
        try:
            page.wait_for_function(f"{PROMPTS}.some(text => /[\\d*]/.test(text))", timeout=3_000)
            break
        except Exception:
            continue
    page.wait_for_function(f"document.querySelector('{IDLE}') && {PROMPTS}.every(text => /\\d/.test(text))", timeout=300_000)


def _move_everything_shown(page) -> dict[str, int]:
    return {widget.get_attribute("aria-label"): move_everything(page, widget) for widget in page.locator(f".jp-Notebook {WIDGET}").all()}


def _keys_stay_with_a_control(page) -> None:
    """Digits, letters and arrows are commands in a notebook (delete, make a heading, next cell): a focused control must keep them."""
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    for control in page.locator(f".jp-Notebook {WIDGET}").first.locator("input, button").all():
        control.focus()
        for key in ("x", "1", "a", "d", "d", "ArrowRight", "ArrowLeft"):
            page.keyboard.press(key)
        assert page.evaluate(f"document.activeElement.closest('{WIDGET}') !== null"), "the notebook took the focus away"
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_and_its_widgets_live(browser, lab, name):
    with opened(browser, f"{lab}lab/tree/book/chapters/{name}.ipynb?reset") as watched:
        page = watched.page
        _run_all(page)
        moved = _move_everything_shown(page)
        assert len(moved) >= 2, f"a chapter has a widget and a quiz, found {moved}"
        assert all(moved.values()), moved
        _keys_stay_with_a_control(page)
        assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr'] .ansi-red-fg").count() == 0, "a cell failed"
        assert [trouble for trouble in watched.troubles if trouble.startswith("asks another host")] == []
