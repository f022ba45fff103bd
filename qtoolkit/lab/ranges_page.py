"""The page of the book that shows every row of ranges.json: written by `qt reproduce ranges`, never by hand."""

from pathlib import Path

from qtoolkit.lab import results

PAGE = results.RESULTS.parent / "measured-ranges.md"
PARTS = {"weights": "Weights in codes, inputs in float32", "inputs": "Inputs in codes, weights in float32", "both": "Weights and inputs in codes"}
COLUMNS = {
    "grid": "grid", "bits": "bits", "input_bits": "input bits", "granularity": "granularity", "calibration": "calibration", "ranges": "input ranges",
    "bits_per_weight": "bits per weight", "top1_percent": "top-1 (%)", "cosine": "cosine", "cosine_min": "least cosine", "found_percent": "found (%)",
    "difference": "difference (points)", "agree_percent": "same answer (%)",
}


def page(data: dict) -> str:
    """The page for the recorded `data`, in Markdown."""
    photos, about = data["photos"], data["provenance"]
    few = " That is few: a single photograph is 5 points, so read this table as a demonstration." if photos["count"] < 100 else ""
    return f"""# All measured ranges

Two pretrained networks under every grid, bit width, granularity and calibration of chapters 03 to 06. `qt reproduce ranges` wrote this page and
`book/results/ranges.json` on {about["date"]} ({about["cpu"]}, torch {about["torch"]}).

A *difference* is paired: the same examples with and without quantization. Behind ± stands the standard error of that difference. *Bits per weight*
counts packed codes, scales, zero points and code books. *KL*, *MSE* and the others are explained in chapter 03.

## EfficientNet-Lite0

{photos["count"]:,} labelled photographs ({photos["set"]}); static input ranges were calibrated on {photos["calibration"]} others. Batch norms are folded. In float32
the network names {data["efficientnet-lite0"][0]["top1_percent"]} % of them right.{few} The set may overlap with the training set of the network, so
only differences mean something here, not the accuracy itself.

{_parts(data["efficientnet-lite0"])}
## MiniLM

{data["sentences"]["count"]} sentences of {data["sentences"]["set"]}; static input ranges were calibrated on {data["sentences"]["calibration"]} others. *Cosine* compares
the vector of a sentence with the float32 one. *Found*: of all sentences of the other half, its own partner is the nearest; in float32 that is
so for {data["minilm"][0]["found_percent"]} % of them. The token embeddings stay in float32.

{_parts(data["minilm"])}"""


def _parts(rows: list[dict]) -> str:
    chosen = {title: [row for row in rows if row["target"] == target] for target, title in PARTS.items()}
    return "\n".join(f"### {title}\n\n```{{container}} wide-table\n\n{_table(part)}\n```\n" for title, part in chosen.items())


def _table(rows: list[dict]) -> str:
    """Only the columns in which these rows say something."""
    used = [key for key in COLUMNS if any(row.get(key) not in (None, "-") for row in rows)]
    lines = ["| " + " | ".join(COLUMNS[key] for key in used) + " |", "|" + "---|" * len(used)]
    return "\n".join(lines + ["| " + " | ".join(_cell(row, key) for key in used) + " |" for row in rows])


def _cell(row: dict, key: str) -> str:
    if key == "difference":
        text = f"{row[key]:+.1f} ± {row['standard_error']:.1f}".replace("+0.0 ±", "0.0 ±")
        return text.replace("-", "\N{MINUS SIGN}").replace(" ", "\N{NO-BREAK SPACE}")
    value = row.get(key, "-")
    return f"{value:.{4 if key.startswith('cosine') else 1 if key.endswith('percent') else 2}f}" if isinstance(value, float) else str(value)


def write_page(path: Path = PAGE) -> Path:
    """Write the page for the recorded ranges.json."""
    results.replace_file(path, page(results.load("ranges")).encode())
    return path
