"""Split a loop that releases the GIL over PyTorch's OpenMP threads, or else over Python threads.

After a parallel operation, PyTorch's OpenMP threads busy-wait for the next one for some
milliseconds and keep other threads off the processor. So the loops here run on these threads.
Python threads replace them where PyTorch has no GNU OpenMP (outside Linux) and in a forked process,
where OpenMP threads no longer exist. PyTorch's own parallel operations, such as the copy of a large
tensor, would wait there for these threads for ever. So the child of a process whose loops ran on
them gets one thread, as the workers of a DataLoader do.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

BYTES_PER_THREAD = 2_000_000
_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_process = os.getpid()
_openmp_runs = False  # whether OpenMP threads exist because of the loops here


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="evenfall")


def _after_fork() -> None:
    _threads.cache_clear()
    if _openmp_runs:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def _openmp() -> Any:
    """The function that starts a parallel region in PyTorch's OpenMP runtime, or None."""
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
    bytes_per_thread: int = BYTES_PER_THREAD,
) -> None:
    """Call fill(start, stop) on parts of range(size), each on its own thread.

    There are as many parts as torch has threads, or fewer where that would leave a part less than
    `bytes_per_thread` of the `work` bytes. `fill` must release the GIL and must not call run_split.
    """
    parts = min(size, work // bytes_per_thread, torch.get_num_threads())
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
    global _openmp_runs
    _openmp_runs = True
    parts = pairwise(edges)  # an iterator that the threads share
    errors: list[BaseException] = []

    def region(_: Any) -> None:
        try:
            for start, stop in parts:
                fill(start, stop)
        except BaseException as error:  # an exception must not pass through a C library
            errors.append(error)

    # All threads: a smaller team would end the others, and PyTorch would have to start them again.
    start_region(_REGION(region), None, torch.get_num_threads(), 0)
    if errors:
        raise errors[0]


def _on_python_threads(fill: Callable[[int, int], None], edges: list[int]) -> None:
    others = [_threads().submit(fill, *edges[part : part + 2]) for part in range(1, len(edges) - 1)]
    fill(edges[0], edges[1])
    for other in others:
        other.result()
