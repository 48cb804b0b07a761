"""Numba functions whose machine code on disk is used only while the whole package is unchanged.

Numba checks only the file of a function: it would keep machine code although a function of another
file, which was inlined, has changed. `evenfall_kernels` has the same remedy, but needs torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile


def compiled(function: Callable[..., Any]) -> Any:
    """Like numba.njit(error_model="numpy", nogil=True, cache=True)."""
    dispatcher = njit(error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # no cache folder is writable: each process compiles
        dispatcher._cache = _Cache(function)
    return dispatcher


class _Cache(FunctionCache):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = IndexDataCacheFile(
            cache_path=locator.get_cache_path(),
            filename_base=self._impl.filename_base,
            source_stamp=(locator.get_source_stamp(), _digest()),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file can raise anything; None means: compile and save again
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # the folder is gone or full: this process keeps the code
            super().save_overload(sig, data)


@cache
def _digest() -> str:
    """One digest of the sources of this folder."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
