"""A learner's progress: one small local file, no account, no network."""

import contextlib
import json
import os

from qtoolkit.check import paths


def load() -> dict[str, list[int]]:
    """{exercise: [most cases passed, cases]}; empty if nothing was remembered or the file is unreadable."""
    try:
        done = json.loads(paths.progress_file().read_text(encoding="utf-8"))
        return {name: [int(passed), int(total)] for name, (passed, total) in done.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def remember(name: str, passed: int, total: int) -> None:
    """Keep the best result of an exercise; a folder that cannot be written to costs the memory, not the check."""
    done = load()
    if done.get(name, [-1, total])[0] >= passed and done[name][1] == total:
        return
    if (path := paths.progress_file()) is None:
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(done | {name: [passed, total]}, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        print(f"your progress could not be saved: {error}")  # not on stderr, which nbgrader takes for a failure


def exercises() -> list[str]:
    """All exercises of the course, in the order of the chapters."""
    return [name for path in sorted(paths.EXERCISES.glob("*/key.json")) for name in json.loads(path.read_text(encoding="utf-8"))]


def summary() -> str:
    """A line an exercise: done, begun or not started; at the end what is next."""
    done, lines, following = load(), [], None
    for name in exercises():
        passed, total = done.get(name, [0, 0])
        mark = "○" if not total else "✓" if passed == total else "·"
        following = following or (name if mark != "✓" else None)
        lines.append(f"{mark} {name:24s}" + (f" {passed} of {total} visible cases" if total else " not started"))
    return "\n".join([*lines, f"next: {following}" if following else "all done"])


def main() -> int:
    """Print the summary."""
    print(summary())
    return 0
