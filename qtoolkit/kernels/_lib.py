"""Find and load the compiled kernels; say which instructions they use, or why there are none."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

ABI = 3
NAMES = ("libqtoolkit_kernels.so", "libqtoolkit_kernels.dylib")
_POINTER, _LONG, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_SIGNATURES = {  # name -> argument types; every function returns int unless _RETURNS names it
    "qk_quantize": (_POINTER, _LONG, ctypes.c_float, _INT, _POINTER, _INT),
    **dict.fromkeys(("qk_linear_int8", "qk_linear_float", "qk_linear_dynamic", "qk_groupwise", "qk_table", "qk_sparse", "qk_relative_sparse",
                     "qk_tile_sparse", "qk_plan"),
                    (_POINTER, _LONG, _POINTER, _LONG, _LONG, _POINTER, _LONG, _INT)),
    "qk_huffman_decode": (_POINTER, _LONG, _POINTER, _LONG, _LONG, _POINTER, _INT),
    "qk_huffman_encode": (_POINTER, _LONG, _POINTER, _LONG, _POINTER, _LONG, _POINTER),
    "qk_context_encode": (_POINTER, _LONG, _LONG, _LONG, _LONG, _POINTER, _POINTER, _LONG, _POINTER),
    "qk_context_decode": (_POINTER, _LONG, _LONG, _LONG, _LONG, _LONG, _POINTER, _POINTER),
    **dict.fromkeys(("qk_conv_int8", "qk_table_conv"), (_POINTER, _LONG, _POINTER, _LONG, _LONG, _POINTER, _POINTER, _LONG, _INT)),
    "qk_torch_operator": (_POINTER, ctypes.c_char_p),
    "qk_use_isa": (ctypes.c_char_p,),
    "qk_limit": (ctypes.c_char_p, _LONG),
    "qk_isa": (),
    "qk_isas": (),
}
_RETURNS = {"qk_isa": ctypes.c_char_p, "qk_isas": ctypes.c_char_p, "qk_limit": ctypes.c_double}
_REBUILD = "install again with a C++17 compiler on PATH: pip install --force-reinstall --no-deps ."


def _candidates() -> list[Path]:
    """Where the library may be: QTOOLKIT_LIBRARY if set, else every directory of this package."""
    if named := os.environ.get("QTOOLKIT_LIBRARY"):
        return [Path(named)]
    import qtoolkit.kernels

    return [Path(folder) / name for folder in qtoolkit.kernels.__path__ for name in NAMES]


def _open(path: Path) -> ctypes.CDLL:
    """The library at `path` with its signatures; OSError if it cannot be loaded or is from another version."""
    library = ctypes.CDLL(str(path))
    if any(not hasattr(library, name) for name in ("qk_abi", *_SIGNATURES)) or library.qk_abi() != ABI:
        raise OSError(f"{path} was built from another version of qtoolkit; {_REBUILD}")
    for name, arguments in _SIGNATURES.items():
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = _RETURNS.get(name, ctypes.c_int)
    return library


def _load() -> tuple[ctypes.CDLL | None, Path | None, str]:
    """(library, its path, why): the library is None if the fallback must do."""
    existing = [path for path in _candidates() if path.exists()]
    if not existing:
        return None, None, f"no compiled library in {', '.join(sorted({str(p.parent) for p in _candidates()}))}; {_REBUILD}"
    try:
        return _open(existing[0]), existing[0], "compiled library loaded"
    except OSError as error:
        return None, None, f"the compiled library did not load: {error}"


def _load_or_complain() -> tuple[ctypes.CDLL | None, Path | None, str]:
    """`_load`, loud about a fallback and deaf to none of the environment's wishes."""
    library, path, reason = _load()
    if library is None:
        if os.environ.get("QTOOLKIT_REQUIRE_NATIVE", "0") not in ("", "0"):
            raise RuntimeError(f"QTOOLKIT_REQUIRE_NATIVE is set, but the compiled kernels are missing: {reason}")
        warnings.warn(f"qtoolkit runs its slow torch fallback: {reason}", RuntimeWarning, stacklevel=2)
    if wanted := os.environ.get("QTOOLKIT_ISA"):
        _choose(library, wanted)
    return library, path, reason


def _choose(library: ctypes.CDLL | None, name: str) -> None:
    """Switch to the instruction set `name`; ValueError if this machine or this build lacks it."""
    available = library.qk_isas().decode().split() if library else []
    if name not in available:
        raise ValueError(f"instruction set {name!r} (QTOOLKIT_ISA or use_isa) is not available here; this machine and build have: "
                         f"{', '.join(available) or 'none, the compiled kernels are missing'}")
    library.qk_use_isa(name.encode())


library, _path, _reason = _load_or_complain()


@cache
def _torch_library() -> ctypes.CDLL | None:
    """The library of torch's operators, which is loaded already."""
    path = Path(torch.__file__).parent / "lib" / f"libtorch_cpu{'.dylib' if sys.platform == 'darwin' else '.so'}"
    return ctypes.CDLL(str(path)) if path.exists() else None


def bind(name: str) -> bool:
    """Let torch call the kernel of the operator `name` without Python on the way; False if that is not possible here."""
    if library is None or _torch_library() is None:
        return False
    return library.qk_torch_operator(_torch_library()._handle, name.encode()) == 0


def info() -> dict:
    """What the kernels run on: native or fallback, instruction set, threads, the library's path, and why.

    >>> sorted(info())
    ['isa', 'isas_available', 'library', 'native', 'reason', 'threads']
    """
    return {
        "native": library is not None,
        "isa": library.qk_isa().decode() if library else "torch",
        "isas_available": library.qk_isas().decode().split() if library else [],
        "threads": torch.get_num_threads(),
        "library": str(_path) if _path else None,
        "reason": _reason,
    }


@contextmanager
def use_isa(name: str):
    """Run the kernels of one instruction set within a `with` block (for the whole process: not while others compute).

    Raises ValueError, listing what there is, if this machine or this build lacks it.

    >>> if info()["native"]:
    ...     with use_isa("scalar"):
    ...         assert info()["isa"] == "scalar"
    """
    before = info()["isa"]
    _choose(library, name)
    try:
        yield
    finally:
        _choose(library, before)
