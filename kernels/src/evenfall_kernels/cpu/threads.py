"""Share out a loop without GIL to PyTorch's own OpenMP threads, or else to Python's.

After a parallel operation of PyTorch's its OpenMP threads wait actively for the next one, some
milliseconds long, and any other thread waits for the processor they occupy. So the loops here run
on those threads. Python's own serve where PyTorch brings no such OpenMP along (outside of Linux),
and in a process that was forked, which OpenMP's threads do not survive.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

BYTES_WORTH_A_THREAD = 2_000_000
_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_process = os.getpid()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="evenfall")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)


@cache
def _openmp() -> Any:
    """What starts a parallel region in PyTorch's OpenMP runtime, where it is one that offers it."""
    for file in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        try:
            library = ctypes.CDLL(str(file))
            parallel = library.GOMP_parallel
        except (OSError, AttributeError):
            continue
        parallel.argtypes = [_REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return parallel
    return None


def run_split(
    fill: Callable[[int, int], None],
    size: int,
    work: int,
    worth: int = BYTES_WORTH_A_THREAD,
) -> None:
    """Call fill(start, stop) on parts of range(size), a thread for each `worth` bytes of `work`.

    As many threads as torch uses. `fill` must release the GIL and may not call this itself.
    """
    parts = min(size, work // worth, torch.get_num_threads())
    if parts <= 1:
        fill(0, size)
        return
    edges = [size * part // parts for part in range(parts + 1)]
    openmp = _openmp() if os.getpid() == _process else None
    if openmp is None:
        _on_python_threads(fill, edges)
    else:
        _on_openmp_threads(openmp, fill, edges)


def _on_openmp_threads(
    start_region: Any, fill: Callable[[int, int], None], edges: list[int]
) -> None:
    parts = iter(zip(edges, edges[1:], strict=False))  # more or fewer than there are threads
    errors: list[BaseException] = []

    def region(_: Any) -> None:
        try:
            for start, stop in parts:
                fill(start, stop)
        except BaseException as error:  # nothing may be raised through a C library
            errors.append(error)

    # The whole team: a smaller one would end the other threads, to be started again by PyTorch.
    start_region(_REGION(region), None, torch.get_num_threads(), 0)
    if errors:
        raise errors[0]


def _on_python_threads(fill: Callable[[int, int], None], edges: list[int]) -> None:
    others = [_threads().submit(fill, *edges[part : part + 2]) for part in range(1, len(edges) - 1)]
    fill(edges[0], edges[1])
    for other in others:
        other.result()
