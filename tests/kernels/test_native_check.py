"""The compiled kernels without Python: under AddressSanitizer and UBSan, and for ARM in an emulator."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CSRC = ROOT / "qtoolkit" / "kernels" / "csrc"


def build(name: str, *options: str) -> Path:
    """The self-check, compiled with these CMake options. Kept until a source changes. Where nothing may be skipped
    (continuous integration, whose compiler is known), the compiler's warnings are errors."""
    flags = "-Werror" if os.environ.get("QT_REQUIRE_ALL") == "1" else ""
    digest = hashlib.sha256()
    for source in sorted([*CSRC.rglob("*.*"), HERE / "native_check.cpp"]):
        digest.update(source.read_bytes())
    folder = ROOT / "build" / "native-check" / name
    done = folder / digest.hexdigest()[:16]
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        configure = ["cmake", "-S", CSRC, "-B", folder, f"-DQK_CHECK={HERE / 'native_check.cpp'}", f"-DCMAKE_CXX_FLAGS={flags}"]
        for command in ([*configure, *options], ["cmake", "--build", folder, "-j", "2"]):
            process = subprocess.run(command, capture_output=True, text=True)
            assert process.returncode == 0, process.stdout + process.stderr
        done.touch()
    return folder / "qk_check"


def have(*tools: str) -> bool:
    return all(shutil.which(tool) for tool in tools)


@pytest.mark.skipif(not have("cmake", "c++"), reason="hardware: no cmake or C++ compiler on this machine")
def test_clean_under_the_sanitizers():
    check = build("sanitized", "-DQK_SANITIZE=ON")
    process = subprocess.run([check], capture_output=True, text=True, env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"})
    assert process.returncode == 0 and "layers agree on:" in process.stdout, process.stdout + process.stderr


@pytest.mark.skipif(not have("cmake", "aarch64-linux-gnu-g++", "qemu-aarch64"),
                    reason="hardware: no ARM, and no aarch64-linux-gnu-g++ with qemu-aarch64 to stand in for it")
def test_the_same_bits_on_arm():
    check = build("arm", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
                  "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++")
    process = subprocess.run(["qemu-aarch64", "-cpu", "max", "-L", "/usr/aarch64-linux-gnu", check], capture_output=True, text=True,
                             env=os.environ | {"LD_LIBRARY_PATH": str(check.parent)})
    assert process.returncode == 0 and "neon scalar" in process.stdout, process.stdout + process.stderr
