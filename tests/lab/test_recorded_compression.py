"""The recorded files of Deep Compression: within their limits, beyond the published ratios, and the committed ones are what they are said to be."""

import statistics

import pytest

from qtoolkit import lab
from qtoolkit.compression import evaluated, inspect
from qtoolkit.lab.deep_compression import ALL, LINES, STRICT, THREE, Line, without
from qtoolkit.lab.results import RESULTS

RECORD, SHARES = lab.results.load("deep-compression"), lab.results.load("deep-compression-shares")
# What was asked for: at least this many times smaller, the median of five seeds within the limit.
GOALS = {
    ("lenet-300-100", THREE, 1.58): 120, ("lenet-300-100", ALL, 1.58): 250, ("lenet-300-100", THREE, 1.9): 170, ("lenet-300-100", ALL, 1.9): 320,
    ("lenet-5", THREE, 0.74): 60, ("lenet-5", ALL, 0.74): 200, ("lenet-5", THREE, 1.0): 150, ("lenet-5", ALL, 1.0): 450,
}
PARAMETERS = {"lenet-300-100": 266_610, "lenet-5": 431_080}


def recorded(line: Line) -> dict:
    (found,) = [row for row in RECORD["lines"] + SHARES["lines"] if (row["network"], row["line"], row["limit_percent"]) == (line.network, line.name, line.limit)]
    return found


@pytest.mark.parametrize("line", LINES + STRICT, ids=str)
def test_every_line_is_recorded_with_five_seeds(line):
    row = recorded(line)
    assert sorted(run["seed"] for run in row["runs"]) == [0, 1, 2, 3, 4]
    for run in row["runs"]:
        assert run["ratio"] == round(4 * PARAMETERS[line.network] / run["bytes"], 2)
        assert sum(layer["kept"] for layer in run["layers"]) == run["kept"] and sum(layer["bytes"] for layer in run["layers"]) < run["bytes"]
    for key in ("ratio", "test_error_percent", "bytes"):
        assert row[f"median_{key}"] == statistics.median(run[key] for run in row["runs"])


@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_the_goals_are_reached(goal):
    row = recorded(next(line for line in LINES if (line.network, line.name, line.limit) == goal))
    assert row["median_ratio"] >= GOALS[goal] and row["median_test_error_percent"] <= goal[2]


@pytest.mark.parametrize("line", STRICT, ids=str)
def test_strict_lines_stay_within_their_limit_with_plain_digits_and_their_own_teacher(line):
    row = recorded(line)
    assert row["median_test_error_percent"] <= row["limit_percent"] == line.limit
    assert (row["start"], row["images"], row["teacher"]) == ("plain", "plain", "own")
    assert row["median_ratio"] > {("lenet-300-100", THREE): 40, ("lenet-300-100", ALL): 124, ("lenet-5", THREE): 162, ("lenet-5", ALL): 162}[
        line.network, line.name.removesuffix(", strict")]       # published before


def test_every_ingredient_was_left_out_once_and_coding_alone_changes_no_weight():
    left = {run["ingredient"]: run for run in SHARES["left_out"]}
    assert list(left) == [line.name.rsplit(", ", 1)[1] for line in without(LINES[0])] and len(left) == 8
    whole = recorded(LINES[0])["runs"][0]
    assert left["Huffman"]["held_out_percent"] == whole["held_out_percent"] and left["Huffman"]["kept"] == whole["kept"]
    assert left["biases of 16 bits"]["kept"] == whole["kept"] and left["Huffman"]["bytes"] > whole["bytes"] < left["biases of 16 bits"]["bytes"]


@pytest.mark.parametrize("network", PARAMETERS)
def test_the_committed_file_is_one_of_the_recorded(network):
    path, test = RESULTS / f"{network}.qtdc", lab.mnist("test")
    row = recorded(next(line for line in LINES if line.network == network))
    best = min(row["runs"], key=lambda run: (run["held_out_percent"], run["seed"]))
    assert path.stat().st_size == inspect(path).bytes == best["bytes"] < 10_000
    assert evaluated(path, test.inputs(), test.labels).error_percent == pytest.approx(best["test_error_percent"], abs=0.011)
