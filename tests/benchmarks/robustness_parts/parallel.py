"""Eight threads, and four processes, on the same kernels: each gets what it would get alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

THREADS, PROCESSES, ROUNDS = 8, 4, 25


def kernels() -> dict[str, Callable[[Any], list[Any]]]:
    """Operation -> a call with a random generator, which returns outputs and gradients."""
    import torch
    from torch import Tensor

    import evenfall_kernels as ops

    def both(made: list[Tensor], call: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [one.requires_grad_() for one in made]
        out = call(*leaves)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]

    def rand(generator: Any, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    def egru(g: Any) -> list[Tensor]:
        shapes = ((7, 3, 12), (12, 48), (16, 48), (48,), (48,), (16,))
        return both([rand(g, *shape) for shape in shapes], lambda *a: ops.egru_scan(*a)[0])

    def events(g: Any) -> list[Tensor]:
        made = [torch.relu(rand(g, 5, 64)), rand(g, 64, 32)]
        return both(made, ops.event_matmul)

    def scan(g: Any) -> list[Tensor]:
        made = [rand(g, 2, 24, 50), rand(g, 2, 24, 50).abs(), -rand(g, 24, 8).abs(),
                rand(g, 2, 8, 50), rand(g, 2, 8, 50)]  # fmt: skip
        return both(made, ops.selective_scan)

    def conv(g: Any) -> list[Tensor]:
        return both([rand(g, 2, 24, 50), rand(g, 24, 4)], ops.causal_conv1d)

    def ssd(g: Any) -> list[Tensor]:
        made = [rand(g, 2, 50, 4, 8), rand(g, 2, 50, 4).abs(), -rand(g, 4).abs(),
                rand(g, 2, 50, 2, 8), rand(g, 2, 50, 2, 8)]  # fmt: skip
        return both(made, ops.ssd_scan)

    return {"egru_scan": egru, "event_matmul": events, "selective_scan": scan,
            "causal_conv1d": conv, "ssd_scan": ssd}  # fmt: skip


def sums(seed: int) -> dict[str, bytes]:
    """Operation -> the bytes of its results for a seed."""
    import torch

    torch.set_num_threads(1)
    found = {}
    for name, call in kernels().items():
        results = call(torch.Generator().manual_seed(seed))
        found[name] = b"".join(one.numpy().tobytes() for one in results)
    return found


def measure(folder: Path, seed: int, quick: bool, keep: Collection[str]) -> list[dict[str, Any]]:
    rounds = 2 if quick else ROUNDS
    rows = []
    seeds = [seed + number for number in range(THREADS * rounds)]
    alone = [sums(one) for one in seeds]
    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(sums, seeds))
    rows.append(row(f"{THREADS} threads on the same kernels", alone, found))
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        found = pool.map(sums, seeds)
    rows.append(row(f"{PROCESSES} processes on the same kernels", alone, found))
    return rows


def row(what: str, want: list[dict[str, bytes]], got: list[dict[str, bytes]]) -> dict[str, Any]:
    wrong = sorted({name for one, other in zip(want, got, strict=True)
                    for name in one if one[name] != other[name]})  # fmt: skip
    seen = "equal to the bit, gradients too" if not wrong else f"differs: {', '.join(wrong)}"
    return {"what": what, "tried": len(want) * len(want[0]), "unit": "calls", "seen": seen,
            "wrong": len(wrong)}  # fmt: skip
