"""Benchmarks that compare like with like: all contenders take turns in one process, and the machine's own limits are measured
in the same minutes. The minimum of many runs is what the code costs; the median is what a shared machine makes of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from qtoolkit.kernels._lib import info, library


@dataclass(frozen=True)
class Timing:
    """What one contender took: microseconds of the fastest and of the middle run, and how many runs there were."""

    min_us: float
    median_us: float
    runs: int


def compare(contenders: dict[str, Callable[[], object]], seconds: float = 1.0, least_runs: int = 5) -> dict[str, Timing]:
    """Time several callables in turn, round after round, for about `seconds` in all (at least `least_runs` rounds).

    Interleaving gives each of them the same share of quiet and of disturbed moments, so their ratio is trustworthy where
    single times are not. A turn is one untimed run, which brings the contender's own data back into the caches, and then
    timed ones for about half a millisecond (at least one). Raises ValueError without contenders.

    >>> times = compare({"sort": lambda: sorted(range(99)), "sum": lambda: sum(range(99))}, seconds=0.01)
    >>> times["sum"].min_us <= times["sum"].median_us
    True
    """
    if not contenders:
        raise ValueError("no contenders to compare, expected at least one name -> function")
    spent: dict[str, list[int]] = {name: [] for name in contenders}
    for run in contenders.values():  # first calls allocate and compile
        run(), run()
    deadline, rounds = time.perf_counter() + seconds, 0
    while rounds < least_runs or time.perf_counter() < deadline:
        for name, run in contenders.items():
            run()
            spent[name] += _turn(run)
        rounds += 1
    return {name: Timing(min(ns) / 1e3, median(ns) / 1e3, len(ns)) for name, ns in spent.items()}


def _turn(run: Callable[[], object], nanoseconds: int = 500_000) -> list[int]:
    """Nanoseconds of each run of one contender's turn."""
    clock, runs = time.perf_counter_ns, []
    first = before = clock()
    while before - first < nanoseconds or not runs:
        run()
        after = clock()
        runs.append(after - before)
        before = after
    return runs


class threads:
    """`with threads(1): ...` sets torch's number of threads, which the kernels obey too, and puts it back."""

    def __init__(self, number: int | None):
        self.number = number or torch.get_num_threads()

    def __enter__(self) -> int:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.number)
        return self.number

    def __exit__(self, *_) -> None:
        torch.set_num_threads(self.before)


def compare_models(models: dict[str, nn.Module], inputs: Tensor, batches: tuple[int, ...] = (1, 64),
                   thread_counts: tuple[int | None, ...] = (1, None), seconds: float = 1.0) -> list[dict]:
    """Whole-model times of several models on the same inputs; the first one is what the others are compared with.

    One row per batch, thread count (None: as many as torch uses by default) and model: model, batch, threads, min_us,
    median_us, runs, and `speedup` (the first model's min_us over this one's). Refuses to time the fallback (RuntimeError).
    """
    require_native()
    rows, first = [], next(iter(models))
    for count in thread_counts:
        for batch in batches:
            x = inputs[torch.arange(batch) % len(inputs)].contiguous()
            with threads(count) as number, torch.inference_mode():
                times = compare({name: lambda model=model: model(x) for name, model in models.items()}, seconds)
            rows += [{"model": name, "batch": batch, "threads": number, **asdict(timing),
                      "speedup": times[first].min_us / timing.min_us} for name, timing in times.items()]
    return rows


class Limits:
    """The machine's own limits on one thread, the best seen so far: each `get` measures again, for some 10 ms."""

    def __init__(self):
        self._best: dict[tuple[str, int], float] = {}

    def get(self, what: str, size: int = 0) -> float:
        """Multiply-adds a second ("int8", "float", "signs") or bytes a second ("read", from a working set of `size` bytes)."""
        seen = [library.qk_limit(what.encode(), size) for _ in range(10)]
        self._best[what, size] = max(self._best.get((what, size), 0.0), *seen)
        return self._best[what, size]

    def matrix_product_us(self, m: int, n: int, k: int, weight_bytes: int, threads: int = 1, peak: str = "int8") -> float:
        """t_min = max(m n k / peak, bytes / bandwidth): the roofline of a layer, in microseconds."""
        return 1e6 * max(m * n * k / self.get(peak) / threads, weight_bytes / self.get("read", weight_bytes))


@dataclass(frozen=True)
class Row:
    """One operator and shape: our time, the best peer's, the ratio (above 1: we are faster), and the machine's limit."""

    op: str
    shape: str
    threads: int
    ours_us: float
    best_peer: str
    best_peer_us: float
    ratio: float
    limit_us: float
    efficiency: float
    peers_us: dict[str, float]


def measure(op: str, shape: str, ours: Callable, peers: dict[str, Callable], limit_us: Callable[[], float], seconds: float) -> Row:
    """Time ours against its peers and the limit, before and after."""
    limit = limit_us()
    times = compare({"ours": ours, **peers}, seconds)
    limit = min(limit, limit_us())
    mine = times.pop("ours").min_us
    best = min(times, key=lambda name: times[name].min_us)
    return Row(op, shape, torch.get_num_threads(), mine, best, times[best].min_us, times[best].min_us / mine, limit, limit / mine,
               {name: timing.min_us for name, timing in times.items()})


def require_native() -> None:
    """Raise RuntimeError if the kernels run on the fallback, whose times would say nothing."""
    if library is None:
        raise RuntimeError(f"refusing to time the torch fallback: {info()['reason']}")


def main(quick: bool = False, json_file: Path | None = None, threads: int = 1) -> list[Row]:
    """`qt bench`: one row per operator and shape, printed as a table and written to `json_file` if given."""
    from rich.console import Console
    from rich.table import Table

    from qtoolkit.kernels.bench_rows import ROWS

    try:
        require_native()
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
    table = Table(*("operator", "shape", "ours us", "best peer", "peer us", "ratio", "limit us", "efficiency"),
                  title=f"{info()['isa']}, {threads} thread{'s' * (threads > 1)}; times are minima of interleaved runs")
    rows, limits = [], Limits()
    with globals()["threads"](threads), torch.inference_mode():
        for make in ROWS:
            for row in make(limits, 0.15 if quick else 1.5, quick):
                rows.append(row)
                table.add_row(row.op, row.shape, f"{row.ours_us:.1f}", row.best_peer, f"{row.best_peer_us:.1f}", f"{row.ratio:.2f}",
                              f"{row.limit_us:.1f}", f"{row.efficiency:.0%}")
    Console().print(table)
    if json_file is not None:
        write_json(Path(json_file), rows)
    return rows


def write_json(path: Path, rows: list[Row]) -> None:
    """The rows with the machine they come from, written under a temporary name first."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps({"kernels": info(), "torch": torch.__version__, "rows": [asdict(row) for row in rows]}, indent=1))
    temporary.replace(path)
