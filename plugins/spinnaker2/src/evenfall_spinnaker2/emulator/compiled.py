"""Numba functions with machine code on disk, without torch, which `evenfall_kernels` needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit

from evenfall.machine_code import code_cache


def compiled(function: Callable[..., Any]) -> Any:
    """Like numba.njit(error_model="numpy", nogil=True, cache=True).

    The code is kept until a source of this package changes.
    """
    dispatcher = njit(error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # no cache folder is writable: each process compiles
        dispatcher._cache = code_cache(function)
    return dispatcher
