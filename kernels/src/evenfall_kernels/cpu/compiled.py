"""Numba functions whose machine code is kept on disk, for as long as no source here changes.

Numba itself looks at the file of the function alone and would keep machine code whose inlined
parts, of another file, have changed since. And it refuses to define a function to be kept where no
folder can be written to; here the function is then compiled anew in each process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

_FOLDER = Path(__file__).parents[1]


@cache
def _sources(folder: Path) -> str:
    """One digest of all sources."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


class _KeptCode(CompileResultCacheImpl):
    def __init__(self, function: Any) -> None:
        super().__init__(function)
        own = self._locator.get_source_stamp
        self._locator.get_source_stamp = lambda: (own(), _sources(_FOLDER))


class _Cache(FunctionCache):
    _impl_class = _KeptCode


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As numba.njit(error_model="numpy", nogil=True, cache=True, **options)."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(error_model="numpy", nogil=True, **options)(function)
        try:
            dispatcher._cache = _Cache(function)
        except RuntimeError:  # "no locator available": no folder of Numba's can be written to
            pass
        return dispatcher

    return decorate
