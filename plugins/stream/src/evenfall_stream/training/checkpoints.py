"""Checkpoints of a run, written to a temporary folder and then renamed.

Weights and the optimiser's tensors are safetensors, the rest is JSON: no file of a run can execute
code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from evenfall.errors import CallbackError, shorten
from evenfall.files import written_aside
from evenfall.runs import Callbacks, RunFolder, read_state, write_state


@dataclass
class Position:
    """The position of a run: epochs done, the best validation accuracy with its epoch, and the
    names of the classes."""

    epoch: int = 0
    best_accuracy: float | None = None
    best_epoch: int | None = None
    classes: list[str] | None = None


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn every error of writing weights into an OSError.

    Raises:
        OSError: the folder cannot be written, for example on a full disk.
    """
    try:
        yield
    except CallbackError:
        raise
    # PyTorch raises RuntimeError, safetensors its own error.
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OSError(f"{folder} cannot be written: {error}") from error


def save_checkpoint(
    folder: RunFolder,
    position: Position,
    models: dict[str, nn.Module],
    states: dict[str, Any],
    callbacks: Callbacks,
) -> None:
    """Write checkpoint-N, then remove older ones.

    Args:
        folder: of the run.
        position: where to continue; its epoch is N.
        models: name to model, for the weights.
        states: name to a state_dict of tensors and plain values.
        callbacks: their states are saved too.

    Raises:
        OSError: it cannot be written, for example on a full disk.
        CallbackError: a callback's state cannot be saved.
    """
    target = folder.path / f"checkpoint-{position.epoch}"
    with write_errors(target), written_aside(target, replace=True) as aside:
        for name, model in models.items():
            save_model(model, str(aside / f"{name}.safetensors"))
        for name, state in states.items():
            write_state(aside, name, state)
        callbacks.save(aside)
        (aside / "progress.json").write_text(json.dumps(asdict(position)), encoding="utf-8")
    folder.remove_old_checkpoints()


def load_checkpoint(
    folder: Path,
    models: dict[str, nn.Module],
    states: Sequence[str],
    device: torch.device,
    classes: list[str],
) -> tuple[Position, dict[str, Any]]:
    """Load the weights into `models`; return the position and the states by name.

    Raises:
        ValueError: the checkpoint is incomplete, cannot be read, or is of other classes.
    """
    try:
        position = Position(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))
        if position.classes not in (None, classes):
            raise ValueError(
                f"it has the classes {shorten(position.classes)}, but the data {shorten(classes)}"
            )
        position.classes = classes
        for name, model in models.items():
            load_model(model, folder / f"{name}.safetensors", device=str(device))
        loaded_states = {name: read_state(folder, name) for name in states}
    except (OSError, EOFError, RuntimeError, ValueError, TypeError, SafetensorError) as error:
        raise ValueError(f"checkpoint {folder} cannot be read: {error}") from error
    return position, loaded_states
