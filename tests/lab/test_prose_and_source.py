"""`show` shows what runs, `say` says what was computed; in a notebook both are Markdown."""

import functools
import math

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from qtoolkit import lab
from qtoolkit.lab import data, source


def _documented(x: int) -> int:
    """Double it.

    Over two lines.
    """
    # kept comment
    return 2 * x


class _Short:
    """Nothing but this."""


def _run(*cells: str) -> list:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


def test_the_source_is_the_file_s_own_text():
    text = source.source_of(data.read_idx)
    assert text in open(data.__file__, encoding="utf-8").read() + "\n"


def test_the_docstring_can_be_left_out():
    assert source.source_of(_documented, docstring=False) == "def _documented(x: int) -> int:\n    # kept comment\n    return 2 * x\n"
    assert source.source_of(_Short, docstring=False) == source.source_of(_Short)
    assert '"""Double it.' in source.source_of(_documented)


def test_decorated_methods_classes_and_modules_are_shown(capsys):
    @functools.wraps(_documented)
    def wrapped(x):
        return _documented(x)

    lab.show(wrapped, data.Digits.inputs, data)
    shown = capsys.readouterr().out
    assert "def _documented" in shown and "def wrapped" not in shown
    assert "# Digits.inputs, in qtoolkit/lab/data.py\ndef inputs(self)" in shown
    assert "# qtoolkit.lab.data, in qtoolkit/lab/data.py\n" in shown


@pytest.mark.parametrize("thing", [len, 3, "text"])
def test_what_has_no_python_source_is_refused(thing):
    with pytest.raises(TypeError, match="show takes a function, class or module"):
        lab.show(thing)


def test_no_path_of_this_machine_is_shown(capsys):
    lab.show(lab.mnist, lab.fit)
    assert data.__file__.split("qtoolkit")[0] not in capsys.readouterr().out


@pytest.mark.parametrize("template, numbers", [
    ("{error}", {}), ("none", {"error": 1}), ("{error} {other}", {"error": 1}), ("{error}", {"error": math.nan}), ("{error}", {"error": math.inf}),
    ("{error}", {"error": torch.tensor(math.nan)}),
])
def test_prose_without_its_numbers_is_refused(template, numbers):
    with pytest.raises(ValueError):
        lab.say(template, **numbers)


def test_prose_keeps_formulas(capsys):
    lab.say("${{2^{{b}}}}$ is {levels:,} for {bits} bits: {errors[0]:.1f}", levels=65536, bits=16, errors=[0.25])
    assert capsys.readouterr().out == "${2^{b}}$ is 65,536 for 16 bits: 0.2\n"


def test_in_a_notebook_both_are_markdown_with_plain_text_beside_it():
    said, shown = _run("from qtoolkit import lab\nlab.say('**{n}** levels', n=4)",
                       "lab.show(lab.error_percent, docstring=False)")
    assert said[0].data == {"text/markdown": "**4** levels", "text/plain": "**4** levels"}
    assert shown[0].data["text/markdown"].startswith("```python\n# error_percent, in qtoolkit/lab/train.py\ndef error_percent(")
    assert shown[0].data["text/plain"] in shown[0].data["text/markdown"]


def test_a_notebook_run_by_a_machine_has_no_progress_bar():
    (outputs,) = _run("import torch\nfrom qtoolkit import lab\nlosses = lab.fit(torch.nn.Linear(4, 2), torch.zeros(8, 4), "
                      "torch.zeros(8, dtype=torch.int64), epochs=2)")
    assert outputs == []


def test_a_watching_person_sees_progress(monkeypatch, capsys):
    from qtoolkit.lab.progress import bar

    monkeypatch.setenv("JPY_SESSION_NAME", "chapter.ipynb")
    list(bar(range(3), what="counting sheep"))
    assert "counting sheep" in capsys.readouterr().err
    list(bar(range(3), what="counting sheep", show=False))
    assert capsys.readouterr().err == ""
