"""Numba functions with machine code cached on disk until a source of their packages changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core.ccallback import CFunc

from evenfall.machine_code import code_cache

_KERNELS = Path(__file__).parents[1]  # evenfall_kernels: other packages inline its functions


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Like numba.njit(error_model="numpy", nogil=True, cache=True, **options).

    The machine code is in the user's cache folder, or in $NUMBA_CACHE_DIR. The function is
    recompiled if a source of evenfall_kernels or of the function's own package has changed, or if
    its cache file is damaged.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(error_model="numpy", nogil=True, **options)(function)
        with suppress(RuntimeError):  # no cache folder is writable: each process compiles
            dispatcher._cache = code_cache(function, [_KERNELS])
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
        callback._cache = code_cache(function, [_KERNELS])
    callback.compile()
    return callback


def require_compiler() -> None:
    """Called by modules whose functions Python cannot run, when they are imported.

    Raises:
        ImportError: Numba's compiler is turned off.
    """
    if numba.config.DISABLE_JIT:
        raise ImportError("NUMBA_DISABLE_JIT turns Numba's compiler off; unset it")
