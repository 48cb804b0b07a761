"""Numba functions with machine code cached on disk until a source of their packages changes.

Numba's own cache checks only the function's file. It would keep machine code although an inlined
function of another file has changed. Numba also refuses to define a cached function if no cache
folder is writable; here each process then compiles the function.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc

from .entries import Entries

_KERNELS = Path(__file__).parents[1]  # evenfall_kernels: other packages inline its functions


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Like numba.njit(error_model="numpy", nogil=True, cache=True, **options).

    The function is recompiled if a source of evenfall_kernels or of the function's own package has
    changed, or if its cache file is damaged.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(error_model="numpy", nogil=True, **options)(function)
        with suppress(RuntimeError):  # "no locator available": no cache folder is writable
            dispatcher._cache = _Cache(function)
        return dispatcher

    return decorate


def compiled_callback(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """Compile a function that other compiled code calls through its `.address`, cached as above.

    So one compiled caller serves callees that are chosen when it runs, and only those that are used
    are compiled. The result must stay alive as long as the address.

    Args:
        function: it must not raise exceptions.
        signature: a numba signature of numbers and pointers.
        options: those of numba.njit.
    """
    options = {"error_model": "numpy", "nopython": True, **options}
    callback: Any = CFunc(function, (signature.args, signature.return_type), {}, options)
    with suppress(RuntimeError):
        callback._cache = _Cache(function)
    callback.compile()
    return callback


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
        except Exception:  # a damaged file can raise anything; None means: compile and save again
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # the folder is gone or full: this process keeps the code
            super().save_overload(sig, data)


def _packages(function: Callable[..., Any]) -> list[Path]:
    """The folders of evenfall_kernels and of the function's top-level package."""
    own, file = _KERNELS, Path(inspect.getfile(function))
    for folder in file.parents if file.is_file() else ():
        if not (folder / "__init__.py").is_file():
            break
        own = folder
    return [_KERNELS] if own == _KERNELS else [_KERNELS, own]


@cache
def _digest(folder: Path) -> str:
    """One digest of all Python sources in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
