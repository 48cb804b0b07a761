"""Entry point: registers the patch, models, counters and command without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1


@hookimpl
def evenfall_register_patches(register: Callable[..., Any]) -> None:
    """Register the patch "mamba"."""
    register(
        "mamba",
        "evenfall_mamba.patch:PATCH",
        host="transformers",
        targets=["transformers", "mamba_ssm"],
        summary="fast Mamba models of transformers and mamba_ssm, no compiler needed",
    )


@hookimpl
def evenfall_register_models(register: Callable[..., Any]) -> None:
    """Register the Mamba models that take token coordinates."""
    for name, task in (("GeometricMambaModel", "base"), ("GeometricMambaForCausalLM", "language")):
        summary = f"Mamba with coordinates, {task} model"
        register(name, f"evenfall_mamba.geometric:{name}", host="transformers", summary=summary)


@hookimpl
def evenfall_register_counters(register: Callable[..., Any]) -> None:
    """Register the operation counter of the mixers, patched or not."""
    for path in (
        "transformers.models.mamba.modeling_mamba.MambaMixer",
        "transformers.models.falcon_mamba.modeling_falcon_mamba.FalconMambaMixer",
        "transformers.models.jamba.modeling_jamba.JambaMambaMixer",
        "evenfall_mamba.geometric.layer_geometric_mamba.GeometricMambaMixer",
    ):
        register(path, "evenfall_mamba.counters:MIXER", host="transformers")


@hookimpl
def evenfall_register_commands(register: Callable[..., Any]) -> None:
    """Register `evenfall mamba`."""
    register("mamba", "evenfall_mamba.cli:app", summary="Coverage and speed-up of the Mamba patch.")
