"""Where a run stands: folders `checkpoint-N`, each written aside and then renamed.

Weights are safetensors; the optimiser's tensors are read back with weights_only, so that no file of
a run can carry code.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from eventide.files import written_aside

PREFIX = "checkpoint-"


@dataclass
class Progress:
    """How far a run is: epochs done, and the best validation accuracy with its epoch."""

    epoch: int = 0
    best_accuracy: float | None = None
    best_epoch: int | None = None


def save_checkpoint(
    output: Path, progress: Progress, models: dict[str, nn.Module], states: dict[str, Any]
) -> Path:
    """Write checkpoint-N, then remove the older ones.

    Args:
        output: folder of the run.
        progress: what to go on from; its epoch is N.
        models: name to the model whose weights are kept.
        states: name to a state_dict of tensors and plain values.
    """
    folder = output / f"{PREFIX}{progress.epoch}"
    with written_aside(folder, replace=True) as aside:
        for name, model in models.items():
            save_model(model, str(aside / f"{name}.safetensors"))
        for name, state in states.items():
            torch.save(state, aside / f"{name}.pt")
        (aside / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
    for old in found_checkpoints(output)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def found_checkpoints(output: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    folders = (p for p in output.glob(f"{PREFIX}*") if p.name.removeprefix(PREFIX).isdigit())
    return sorted(folders, key=lambda p: int(p.name.removeprefix(PREFIX)))


def load_checkpoint(
    folder: Path, models: dict[str, nn.Module], device: torch.device
) -> tuple[Progress, dict[str, Any]]:
    """Load the weights into `models`; the progress, and the other states by name.

    Raises:
        ValueError: the folder is not a whole checkpoint.
    """
    try:
        progress = Progress(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))
        for name, model in models.items():
            load_model(model, folder / f"{name}.safetensors", device=str(device))
        states = {
            file.stem: torch.load(file, map_location="cpu", weights_only=True)
            for file in folder.glob("*.pt")
        }
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"checkpoint {folder} cannot be read: {error}") from error
    return progress, states
