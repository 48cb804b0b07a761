"""Entry point: registers the command without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1


@hookimpl
def evenfall_register_commands(register: Callable[..., Any]) -> None:
    """Register `evenfall blocklocal`."""
    register(
        "blocklocal",
        "evenfall_blocklocal.cli:app",
        summary="Block-local learning: split, train, compare.",
    )
