"""What each rank of the tests runs: train a small model for some steps and write its weights.

The test sets SETTINGS: rank, ranks, replicas, store, out, steps, dies.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.processes import (
    BlockPipeline,
    DeadRankError,
    load_checkpoint,
    save_checkpoint,
)


def make_local() -> BlockLocal:
    torch.manual_seed(0)
    layers = [
        nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Tanh())
        for _ in range(5)
    ]
    layers[1][1] = nn.BatchNorm1d(6, affine=False)  # buffers without a parameter
    model = nn.Sequential(*layers, nn.Linear(6, 3))
    return BlockLocal(
        model, boundaries=["0", "1", "3"], inputs=torch.randn(2, 6), feedback="direct", seed=7,
        latent=4, hidden=8,
    )  # fmt: skip


def batches(steps: int, replica: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(replica)
    return [
        (torch.randn(8, 6, generator=generator), torch.randint(3, (8,), generator=generator))
        for _ in range(steps)
    ]


def main(
    rank: int, ranks: int, replicas: int, store: str, out: str, steps: int, dies: bool
) -> None:
    torch.set_num_threads(1)
    files = dist.FileStore(store, ranks)
    dist.init_process_group(
        "gloo", store=files, rank=rank, world_size=ranks, timeout=timedelta(seconds=600)
    )
    local = make_local()
    pipeline = BlockPipeline(local, replicas=replicas, timeout=600)
    optimizer = torch.optim.AdamW(pipeline.parameters(), 0.01)
    done = load_checkpoint(pipeline, optimizer, f"{out}-run")
    try:
        for step, (rows, target) in enumerate(batches(steps, pipeline.replica)):
            if step < done:
                continue
            if dies and rank == 0 and step == 12:
                os._exit(1)
            output = pipeline(rows, target=target)
            optimizer.step()
            optimizer.zero_grad()
            if dies and step in (4, 9):
                save_checkpoint(pipeline, optimizer, f"{out}-run", step + 1)
        assert (output.output is not None) is pipeline.is_last
        assert len(output.losses) == pipeline.last - pipeline.first + 1
        pipeline.gather()
    except DeadRankError as error:
        Path(f"{out}-{rank}.txt").write_text(str(error))
        os._exit(0)
    tensors = {name: value.contiguous() for name, value in local.state_dict().items()}
    save_file(tensors, f"{out}-{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(**globals()["SETTINGS"])
