"""Where a run stands: a checkpoint, written aside and then renamed.

Weights are safetensors; the optimiser's tensors are read back with weights_only, so that no file of
a run can carry code.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from evenfall.errors import CallbackError
from evenfall.files import written_aside
from evenfall.runs import Callbacks, RunFolder


@dataclass
class Position:
    """How far a run is: epochs done, and the best validation accuracy with its epoch."""

    epoch: int = 0
    best_accuracy: float | None = None
    best_epoch: int | None = None


@contextmanager
def one_error(folder: Path) -> Iterator[None]:
    """Turn every way in which weights fail to be written into one.

    Raises:
        OSError: the folder cannot be written, for example on a full disk.
    """
    try:
        yield
    except CallbackError:
        raise
    # PyTorch's writer raises RuntimeError, that of safetensors its own kind.
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OSError(f"{folder} cannot be written: {error}") from error


def save_checkpoint(
    folder: RunFolder,
    position: Position,
    models: dict[str, nn.Module],
    states: dict[str, Any],
    callbacks: Callbacks,
) -> None:
    """Write checkpoint-N, then remove the older ones.

    Args:
        folder: of the run.
        position: where to continue; its epoch is N.
        models: name to the model whose weights are kept.
        states: name to a state_dict of tensors and plain values.
        callbacks: whose states are kept too.

    Raises:
        OSError: it cannot be written, for example on a full disk.
        CallbackError: a callback's state cannot be kept.
    """
    target = folder.path / f"checkpoint-{position.epoch}"
    with one_error(target), written_aside(target, replace=True) as aside:
        for name, model in models.items():
            save_model(model, str(aside / f"{name}.safetensors"))
        for name, state in states.items():
            torch.save(state, aside / f"{name}.pt")
        callbacks.save(aside)
        (aside / "progress.json").write_text(json.dumps(asdict(position)), encoding="utf-8")
    folder.remove_old_checkpoints()


def load_checkpoint(
    folder: Path, models: dict[str, nn.Module], states: Sequence[str], device: torch.device
) -> tuple[Position, dict[str, Any]]:
    """Load the weights into `models`; the position, and `states`, by name.

    Raises:
        ValueError: the folder is not a whole checkpoint.
    """
    try:
        position = Position(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))
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
    return position, found
