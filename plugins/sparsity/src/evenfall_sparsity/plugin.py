"""Entry point: registers callbacks, a counter and the command without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1


@hookimpl
def evenfall_register_callbacks(register: Callable[..., Any]) -> None:
    """Register the training methods under the names that recipes use."""
    for name, kind, summary in (
        ("gradual-pruning", "GradualPruning", "remove more and more weights on a cubic schedule"),
        ("rigl", "RigL", "sparse from the start; grow where the gradient is large"),
        ("deep-rewiring", "DeepRewiring", "sparse from the start; grow at random"),
    ):
        register(name, f"evenfall_sparsity.training:{kind}", summary=summary)


@hookimpl
def evenfall_register_counters(register: Callable[..., Any]) -> None:
    """Register the operation counter of compressed layers."""
    register(
        "evenfall_sparsity.compression.CompressedLinear",
        "evenfall_sparsity.compression.counters:COMPRESSED_LINEAR",
        summary="counts the stored weights of a compressed Linear",
    )


@hookimpl
def evenfall_register_commands(register: Callable[..., Any]) -> None:
    """Register `evenfall sparsity`."""
    register("sparsity", "evenfall_sparsity.cli:app", summary="Prune a model and count the rest.")
