"""Two ranks of torch.distributed beside one."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from time import perf_counter as clock

import torch
from record import Rows

from evenfall_blocklocal import BlockLocal

from .steps import SCRIPT

BALANCED_BATCH = 32


def rank_main(steps: int) -> None:
    """One rank of `processes`, started by torchrun; the first one prints the time of a step."""
    import torch.distributed as dist

    from evenfall_blocklocal.processes import BlockPipeline

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    local = make_balanced()
    pipeline = BlockPipeline(local)
    optimizer = torch.optim.AdamW(pipeline.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BALANCED_BATCH, 32, 32, 32, generator=generator)
    target = torch.randint(10, (BALANCED_BATCH,), generator=generator)

    def step() -> None:
        pipeline(images, target=target)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step()
    pipeline.wait_for_all()
    begin = clock()
    for _ in range(steps):
        step()
    pipeline.wait_for_all()
    if dist.get_rank() == 0:
        print(json.dumps({"seconds": (clock() - begin) / steps, "stages": pipeline.plan.stages}))
    dist.destroy_process_group()


def make_balanced() -> BlockLocal:
    """Two blocks of four equal convolutions each."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Sequential(
            torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU()
        )
        for _ in range(8)
    ]
    end = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10))
    model = torch.nn.Sequential(*layers, *end)
    return BlockLocal(
        model, boundaries=["3"], inputs=torch.randn(2, 32, 32, 32), feedback="direct", seed=0
    )


def processes(quick: bool, rounds: int) -> Rows:
    """Seconds a step on one and on two ranks, in turn; medians."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(1 if quick else rounds):
        for ranks in found:
            command = [
                sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
                str(ranks), str(SCRIPT), "rank", "2" if quick else "25",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            line = next(x for x in done.stdout.splitlines() if x.startswith("{"))
            found[ranks].append(json.loads(line)["seconds"])
    one = statistics.median(found[1])
    return [
        {
            "part": "processes", "ranks": ranks, "batch": BALANCED_BATCH,
            "seconds": round(statistics.median(times), 4),
            "speedup": round(one / statistics.median(times), 3),
        }
        for ranks, times in found.items()
    ]  # fmt: skip
