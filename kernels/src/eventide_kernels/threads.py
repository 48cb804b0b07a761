"""Share out a loop without GIL to Python's own threads, none of which has to survive a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

BYTES_WORTH_A_THREAD = 2_000_000


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="eventide")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)


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
    others = [_threads().submit(fill, *edges[part : part + 2]) for part in range(1, parts)]
    fill(edges[0], edges[1])
    for other in others:
        other.result()
