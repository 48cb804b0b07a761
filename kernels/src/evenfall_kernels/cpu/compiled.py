"""Numba functions whose machine code is kept on disk, for as long as no source here changes.

Numba itself looks at the file of the function alone and would keep machine code whose inlined
parts, of another file, have changed since. And it refuses to define a function to be kept where no
folder can be written to; here the function is then compiled anew in each process.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit
from numba.core.caching import FunctionCache

from .entries import Entries

_KERNELS = Path(__file__).parents[1]  # evenfall_kernels, whose functions other packages inline


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As numba.njit(error_model="numpy", nogil=True, cache=True, **options).

    The machine code is compiled anew when a source of evenfall_kernels or of the function's own
    package changes, and when its file on disk is damaged.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(error_model="numpy", nogil=True, **options)(function)
        try:
            dispatcher._cache = _Cache(function)
        except RuntimeError:  # "no locator available": no folder of Numba's can be written to
            pass
        return dispatcher

    return decorate


class _Cache(FunctionCache):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator, versions = self._impl.locator, (numba.__version__, llvmlite.__version__)
        stamp = (*versions, locator.get_source_stamp(), *map(_digest, _packages(function)))
        folder = Path(locator.get_cache_path())
        entries: Any = Entries(folder, self._impl.filename_base, stamp)
        self._cache_file = entries

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file can raise anything; None: compile, and write it again
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # the folder has gone or is full: the code stays in this process
            pass


def _packages(function: Callable[..., Any]) -> list[Path]:
    """The folders of evenfall_kernels and of the outermost package that holds the function."""
    own, file = _KERNELS, Path(inspect.getfile(function))
    for folder in file.parents if file.is_file() else ():
        if not (folder / "__init__.py").is_file():
            break
        own = folder
    return [_KERNELS] if own == _KERNELS else [_KERNELS, own]


@cache
def _digest(folder: Path) -> str:
    """One digest of all sources in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
