"""run_split: each part runs once, on PyTorch's threads or Python's; errors are raised again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evenfall_kernels.cpu import threads


@pytest.fixture(params=["openmp", "python"], autouse=True)
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "python":
        monkeypatch.setattr(threads, "_process", -1)  # as in a forked process
    elif threads._openmp() is None:
        pytest.skip("PyTorch has no GNU OpenMP runtime here")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    return str(request.param)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100])
def test_every_index_comes_once(size: int) -> None:
    indices: list[int] = []
    threads.run_split(lambda start, stop: indices.extend(range(start, stop)), size, 10**9)
    assert sorted(indices) == list(range(size))


def test_little_work_stays_in_this_thread() -> None:
    calls: list[tuple[int, int, int]] = []

    def fill(start: int, stop: int) -> None:
        calls.append((start, stop, threading.get_ident()))

    threads.run_split(fill, 100, 1)
    assert calls == [(0, 100, threading.get_ident())]


def test_parts_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=3600)  # broken unless all three arrive
    threads.run_split(lambda start, stop: barrier.wait() and None, 3, 10**9)
    assert not barrier.broken


def test_an_error_reaches_the_caller() -> None:
    def fill(start: int, stop: int) -> None:
        if start:
            raise KeyError(f"part from {start}")

    with pytest.raises(KeyError, match="part from"):
        threads.run_split(fill, 3, 10**9)
    starts: list[int] = []
    threads.run_split(lambda start, stop: starts.append(start), 3, 10**9)
    assert sorted(starts) == [0, 1, 2]


def test_several_callers_at_once() -> None:
    counts = [0] * 4

    def caller(which: int) -> None:
        for _ in range(20):
            sizes: list[int] = []

            def fill(start: int, stop: int, sizes: list[int] = sizes) -> None:
                time.sleep(1e-4)
                sizes.append(stop - start)

            threads.run_split(fill, 50, 10**9)
            counts[which] += sum(sizes)

    callers = [threading.Thread(target=caller, args=(i,)) for i in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join(3600)
    assert counts == [1000] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_pools_survive_a_fork() -> None:
    threads.run_split(lambda start, stop: None, 3, 10**9)
    child = os.fork()
    if child == 0:
        starts: list[int] = []
        threads.run_split(lambda start, stop: starts.append(start), 3, 10**9)
        os._exit(0 if sorted(starts) == [0, 1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_converts_large_tensors(
    tmp_path: Path, run_script: Callable[..., int]
) -> None:
    """PyTorch would wait for ever for OpenMP threads that exist in the parent only."""
    code = """
import os, signal, torch
from evenfall_kernels import selective_scan
torch.set_num_threads(2)
u = torch.randn(2, 600, 512).half().transpose(1, 2)
A, B = -torch.rand(512, 4), torch.randn(2, 4, 600)
want = selective_scan(u, u, A, B, B, delta_softplus=True)
child = os.fork()
if child == 0:
    signal.alarm(3600)
    got = selective_scan(u, u, A, B, B, delta_softplus=True)
    os._exit(0 if torch.equal(got, want) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    script, output = tmp_path / "script.py", tmp_path / "output.txt"
    script.write_text(code, encoding="utf-8")
    assert run_script(script, output) == 0, output.read_text(encoding="utf-8")
