"""Entry point: names the plugin's models, checkpoint and command without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventide import hookimpl

EVENTIDE_API = 1

_MODELS = {
    "EgruModel": "base model",
    "EgruForCausalLM": "language model",
    "EgruForSequenceClassification": "sequence classifier",
}


@hookimpl
def eventide_register_models(register: Callable[..., Any]) -> None:
    """Register the three transformers models."""
    for name, task in _MODELS.items():
        register(name, f"eventide_egru:{name}", host="transformers", summary=f"EGRU {task}")


@hookimpl
def eventide_register_checkpoints(register: Callable[..., Any]) -> None:
    """Register the published checkpoint."""
    register(
        "egru-ptb-small",
        "eventide_egru:EgruForCausalLM",
        folder="hub_cards/egru-ptb-small",
        summary="Penn Treebank words, loads with AutoModelForCausalLM",
    )


@hookimpl
def eventide_register_commands(register: Callable[..., Any]) -> None:
    """Register `eventide egru`."""
    register("egru", "eventide_egru.cli:app", summary="EGRU language models: train, write, pack.")
