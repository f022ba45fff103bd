"""Wrong answers as people type them, run for real on this machine: each must be answered by the hint that names it.

The mistakes in checks.py model such code in defined arithmetic; these tests prove that the model is the code.
"""

import textwrap

import pytest
import torch

from qtoolkit.check import engine
from qtoolkit.check.checker import find_key

SIGNATURES = {
    "ch00.parameters": "parameters(sizes)",
    "ch00.error_percent": "error_percent(scores, labels)",
    "ch02.scale_zero_point": "scale_zero_point(lo, hi, bits)",
    "ch02.quantize": "quantize(x, scale, zero_point, bits)",
    "ch02.integer_linear": "integer_linear(q_x, q_w, zero_point, bias)",
    "ch02.find_the_bug": "symmetric_codes(x, bits)",
}


def verdict(name: str, body: str) -> engine.Result:
    names = {"torch": torch}
    exec(f"def {SIGNATURES[name]}:\n" + textwrap.indent(textwrap.dedent(body).strip(), "    "), names)
    return engine.judge(name, find_key(name), names[SIGNATURES[name].split("(")[0]])


def _said(result: engine.Result) -> str:
    """The hint of a verdict, in one line."""
    return " ".join(result.text.split("  hint      ")[1].split("  read ")[0].split())


QUANTIZE_HEAD = "lo, hi = -2 ** (bits - 1), 2 ** (bits - 1) - 1\n"
RANGE_HEAD = "lo, hi = min(lo, 0.0), max(hi, 0.0)\n"
BUG_HEAD = "top = 2 ** (bits - 1) - 1\n"

TYPED = [
    ("ch00.parameters", "n = 0\nfor i in range(len(sizes) - 1): n += sizes[i] * sizes[i + 1]\nreturn n, n * 4", "biases are missing"),
    ("ch00.parameters",
     "n = sum(torch.nn.Linear(a, b).weight.numel() for a, b in zip(sizes, sizes[1:])) + sum(sizes)\nreturn n, 4 * n", "no parameters of its own"),
    ("ch00.parameters", "n = sum(a * b + b for a, b in zip(sizes, sizes[1:]))\nreturn n, n * 32 / 8", "only their type"),
    ("ch00.parameters", "n = sum((a + 1) * b for a, b in zip(sizes, sizes[1:]))\nreturn [n, n * 32]", "counts bits"),
    ("ch00.error_percent", "return 100 * (scores.argmax(1) != labels).float().mean().item()", "you return NaN"),
    ("ch00.error_percent", "return 100 * sum(int(s.argmax()) != int(y) for s, y in zip(scores, labels)) / len(labels)", "you divide by 0"),
    ("ch00.error_percent",
     "if not len(labels): raise ValueError('none')\nreturn 100 * (scores.argmax(1) == labels).float().mean()", "this is the accuracy"),
    ("ch00.error_percent",
     "if not len(labels): raise ValueError('none')\nreturn (scores.argmax(1) != labels).sum()", "number of wrong answers"),
    ("ch02.scale_zero_point", RANGE_HEAD + "s = (hi - lo) / (2**bits - 1)\nreturn s, round(-lo / s)", "an empty range"),
    ("ch02.scale_zero_point", RANGE_HEAD + "s = max((hi - lo) / (2**bits - 1), 1e-8)\nreturn s, round(-lo / s)", "an empty range"),
    ("ch02.scale_zero_point", "s = (hi - lo) / (2**bits - 1) or 1.0\nreturn s, round(-lo / s)", "does not always contain 0"),
    ("ch02.scale_zero_point", RANGE_HEAD + "s = (hi - lo) / 2**bits or 1.0\nreturn s, round(-lo / s)", "one gap fewer"),
    ("ch02.scale_zero_point",
     RANGE_HEAD + "s = torch.tensor((hi - lo) / (2**bits - 1) or 1.0)\nreturn s, torch.round(-lo / s)", "only their type"),
    ("ch02.scale_zero_point", RANGE_HEAD + "s = (hi - lo) / (2**bits - 1) or 1.0\nreturn s, int(-lo / s)", "cuts off the fraction"),
    ("ch02.quantize", "return (torch.round(x / scale) + zero_point).to(torch.int8)", "you do not clamp"),
    ("ch02.quantize",
     QUANTIZE_HEAD + "return (torch.round(x / scale) + zero_point).to(torch.int8).clamp(lo, hi)", "cast to int8 before clamping"),
    ("ch02.quantize", QUANTIZE_HEAD + "return torch.round(x / scale + zero_point).clamp(lo, hi).to(torch.int8)", "before rounding"),
    ("ch02.quantize",
     QUANTIZE_HEAD + "return ((x / scale).to(torch.int32) + zero_point).clamp(lo, hi).to(torch.int8)", "cut off the fraction"),
    ("ch02.quantize", QUANTIZE_HEAD + "return (torch.round(x / scale).clamp(lo, hi) + zero_point).to(torch.int8)", "clamped before adding"),
    ("ch02.quantize", QUANTIZE_HEAD + "return (torch.round(x / scale) + zero_point).clamp(lo, hi)", "still floating-point"),
    ("ch02.quantize", QUANTIZE_HEAD + "return (torch.round(x / scale) + zero_point).clamp(lo, hi).int()", "only their type"),
    ("ch02.quantize", QUANTIZE_HEAD + "return (torch.floor(x / scale + 0.5) + zero_point).clamp(lo, hi).int()", "ties all go up"),
    ("ch02.quantize", "return (torch.round(x / scale) + zero_point).clamp(0, 2 ** bits - 1).to(torch.int8)", "the unsigned range"),
    ("ch02.integer_linear", "return q_x @ q_w.T + bias - zero_point * q_w.sum(1)", "wrapped around in int8"),
    ("ch02.integer_linear", "return ((q_x - zero_point) @ q_w.T + bias).to(torch.int32)", "in int8, where everything wraps"),
    ("ch02.integer_linear", "return ((q_x - zero_point).to(torch.int32) @ q_w.to(torch.int32).T + bias)", "before subtracting"),
    ("ch02.integer_linear",
     "return torch.nn.functional.linear(q_x.float() - zero_point, q_w.float(), bias.float()).to(torch.int32)", "float32"),
    ("ch02.integer_linear", "return q_x.int() @ q_w.int().T + bias - zero_point * q_w.int().sum(1)", "only their type"),
    ("ch02.integer_linear", "return q_x.int() @ q_w.int().T + bias", "zero point is missing"),
    ("ch02.find_the_bug",
     BUG_HEAD + "s = float(x.max()) / top\nreturn torch.floor(x / s + 0.5).clamp(-top, top).to(torch.int8), s", "all three bugs"),
    ("ch02.find_the_bug",
     BUG_HEAD + "s = float(x.abs().max()) / top\nreturn torch.round(x / s).clamp(-top, top).to(torch.int8), s", "0 / 0"),
    ("ch02.find_the_bug",
     BUG_HEAD + "s = max(float(x.abs().max()) / top, 1e-12)\nreturn torch.round(x / s).clamp(-top, top).to(torch.int8), s", "0 / 0"),
    ("ch02.find_the_bug",
     BUG_HEAD + "s = float(x.max()) / top or 1.0\nreturn torch.round(x / s).clamp(-top, top).to(torch.int8), s", "You take x.max()"),
    ("ch02.find_the_bug",
     BUG_HEAD + "s = float(x.abs().max()) / top or 1.0\nreturn torch.floor(x / s + 0.5).clamp(-top, top).to(torch.int8), s", "ties all go up"),
]


@pytest.mark.parametrize(("name", "body", "hint"), TYPED, ids=[f"{name}: {hint}" for name, _, hint in TYPED])
def test_a_mistake_as_people_type_it_is_named(name, body, hint):
    result = verdict(name, body)
    said = _said(result)
    assert result.passed < result.total
    assert hint in said and "failing cases look like" not in said


RIGHT = [
    ("ch00.parameters",
     "n = sum(sum(p.numel() for p in torch.nn.Linear(a, b).parameters()) for a, b in zip(sizes[:-1], sizes[1:]))\nreturn [n, 4 * n]"),
    ("ch00.error_percent", "if labels.nelement() == 0: raise ValueError()\nreturn (scores.argmax(-1) != labels).float().mean() * 100"),
    ("ch02.scale_zero_point",
     "import numpy as np\nlo, hi = np.minimum(lo, 0), np.maximum(hi, 0)\ns = np.float64(hi - lo) / (2**bits - 1) or np.float64(1)\nreturn s, np.int64(np.rint(-lo / s))"),
    ("ch02.quantize", QUANTIZE_HEAD + "return torch.clip(x.div(scale).round().add(zero_point), lo, hi).char()"),
    ("ch02.quantize", QUANTIZE_HEAD + "q = (x / scale).round_().to(torch.int32) + zero_point\nreturn q.clamp_(lo, hi).to(torch.int8)"),
    ("ch02.integer_linear", "return torch.einsum('bi,oi->bo', q_x.int() - zero_point, q_w.int()).int() + bias"),
    ("ch02.find_the_bug",
     BUG_HEAD + "s = x.abs().amax() / top\ns = torch.where(s == 0, 1.0, s)\nreturn (x / s).round().clamp(-top, top).char(), s"),
]


@pytest.mark.parametrize(("name", "body"), RIGHT)
def test_a_right_answer_in_another_style_is_no_false_alarm(name, body):
    result = verdict(name, body)
    assert result.passed == result.total, result.text


def test_two_mistakes_at_once_still_get_a_hint():
    half_up_and_int8_ends = "return (torch.floor(x / scale + 0.5) + zero_point).clamp(-128, 127).to(torch.int8)"
    assert "2 of your 4 failing cases look like this: your ties all go up" in _said(verdict("ch02.quantize", half_up_and_int8_ends))


def test_an_error_is_never_taken_for_a_mistake_of_one_case():
    assert "not a mistake we know" in verdict("ch00.error_percent", "return scores.argmaxx(1)").text
