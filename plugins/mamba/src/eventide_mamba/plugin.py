"""Entry point: names the patch and the command without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventide import hookimpl

EVENTIDE_API = 1


@hookimpl
def eventide_register_patches(register: Callable[..., Any]) -> None:
    """Register the patch "mamba"."""
    register(
        "mamba",
        "eventide_mamba.patch:PATCH",
        host="transformers",
        targets=["transformers"],
        summary="Mamba, FalconMamba, Jamba, Zamba: fast without a compiler, state across calls",
    )


@hookimpl
def eventide_register_commands(register: Callable[..., Any]) -> None:
    """Register `eventide mamba`."""
    register("mamba", "eventide_mamba.cli:app", summary="what the Mamba patch covers and gains")
