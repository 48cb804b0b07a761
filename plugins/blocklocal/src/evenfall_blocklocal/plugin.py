"""Entry point: registers the trainer and the command without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1


@hookimpl
def evenfall_register_trainers(register: Callable[..., Any]) -> None:
    """Register the trainer of models in blocks."""
    register(
        "blocklocal",
        "evenfall_blocklocal.training.trainer_entry",
        summary="models in blocks that learn by a local rule",
        metric="accuracy",
        greater_is_better=True,
    )


@hookimpl
def evenfall_register_commands(register: Callable[..., Any]) -> None:
    """Register `evenfall blocklocal`."""
    register(
        "blocklocal",
        "evenfall_blocklocal.cli:app",
        summary="Block-local learning: split, train, compare.",
    )
