"""Where a run stands: folders `checkpoint-N`, each written aside and then renamed.

Weights are safetensors; the optimiser's tensors are read back with weights_only, so that no file of
a run can carry code.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from evenfall.files import written_aside

PREFIX = "checkpoint-"


@dataclass
class Progress:
    """How far a run is: epochs done, and the best validation accuracy with its epoch."""

    epoch: int = 0
    best_accuracy: float | None = None
    best_epoch: int | None = None


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """As written_aside, which may replace; every way in which weights fail to be written is one.

    Raises:
        OSError: the folder cannot be written, as on a full disk.
    """
    try:
        with written_aside(folder, replace=True) as aside:
            yield aside
    # PyTorch's writer raises RuntimeError, that of safetensors its own kind.
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OSError(f"{folder} cannot be written: {error}") from error


def save_checkpoint(
    output: Path, progress: Progress, models: dict[str, nn.Module], states: dict[str, Any]
) -> Path:
    """Write checkpoint-N, then remove the older ones.

    Args:
        output: folder of the run.
        progress: what to go on from; its epoch is N.
        models: name to the model whose weights are kept.
        states: name to a state_dict of tensors and plain values.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    folder = output / f"{PREFIX}{progress.epoch}"
    with written_whole(folder) as aside:
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
    folder: Path, models: dict[str, nn.Module], states: Sequence[str], device: torch.device
) -> tuple[Progress, dict[str, Any]]:
    """Load the weights into `models`; the progress, and `states`, by name.

    Raises:
        ValueError: the folder is not a whole checkpoint.
    """
    try:
        progress = Progress(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))
        for name, model in models.items():
            load_model(model, folder / f"{name}.safetensors", device=str(device))
        found = {
            name: torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)
            for name in states
        }
    except (
        OSError, EOFError, RuntimeError, ValueError, TypeError, SafetensorError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise ValueError(f"checkpoint {folder} cannot be read: {error}") from error
    return progress, found
