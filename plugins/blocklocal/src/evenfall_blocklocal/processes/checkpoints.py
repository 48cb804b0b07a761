"""Checkpoints of a pipeline: the whole model once, and the optimizer of each rank.

checkpoint-N/
    weights.safetensors     the model, heads and feedback
    optimizer-R.json        of rank R, and its tensors in optimizer-R.safetensors
    state.json              written last: without it, the checkpoint is incomplete
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from evenfall.files import file_aside, write_text
from evenfall.runs import read_state, write_state

from .pipeline import BlockPipeline

_NAME = re.compile(r"checkpoint-(\d+)")
_STATE = "state.json"


def save_checkpoint(
    pipeline: BlockPipeline, optimizer: torch.optim.Optimizer, folder: str | Path, step: int
) -> Path:
    """Write checkpoint-<step>; every rank calls it. Older checkpoints are removed afterwards.

    Args:
        pipeline: its blocks are gathered first, so that the file has the whole model.
        optimizer: of this rank.
        folder: of the run, which all ranks can reach.
        step: how many steps are done.

    Raises:
        DeadRankError: a rank has ended or does not answer.
        OSError: the folder cannot be written.
    """
    pipeline.gather()
    target = Path(folder) / f"checkpoint-{step}"
    target.mkdir(parents=True, exist_ok=True)
    write_state(target, f"optimizer-{pipeline.rank}", optimizer.state_dict())
    if pipeline.rank == 0:
        # a copy each, as safetensors refuses tied weights
        state = {n: t.clone().contiguous() for n, t in pipeline.local.state_dict().items()}
        with file_aside(target / "weights.safetensors") as aside:
            save_file(state, aside)
    pipeline.wait_for_all()
    if pipeline.rank == 0:
        write_text(target / _STATE, json.dumps({"step": step, "ranks": dist.get_world_size()}))
        for other in _checkpoints(Path(folder)):
            if other != target:
                shutil.rmtree(other, ignore_errors=True)
    pipeline.wait_for_all()
    return target


def load_checkpoint(
    pipeline: BlockPipeline, optimizer: torch.optim.Optimizer, folder: str | Path
) -> int:
    """Load the last complete checkpoint and return its step; 0 if there is none.

    Raises:
        ValueError: the checkpoint is damaged, or of another number of ranks.
    """
    complete = [path for path in _checkpoints(Path(folder)) if (path / _STATE).is_file()]
    if not complete:
        return 0
    last = complete[-1]
    try:
        state = json.loads((last / _STATE).read_text("utf-8"))
        if state["ranks"] != dist.get_world_size():
            raise ValueError(
                f"{state['ranks']} ranks wrote it, but there are {dist.get_world_size()}"
            )
        pipeline.local.load_state_dict(load_file(last / "weights.safetensors"))
        optimizer.load_state_dict(read_state(last, f"optimizer-{pipeline.rank}"))
    except (OSError, RuntimeError, TypeError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(f"checkpoint {last} cannot be used: {error}") from error
    return int(state["step"])


def _checkpoints(folder: Path) -> list[Path]:
    numbers = {path: _NAME.fullmatch(path.name) for path in folder.glob("checkpoint-*")}
    found = {path: int(match[1]) for path, match in numbers.items() if match}
    return sorted(found, key=found.__getitem__)
