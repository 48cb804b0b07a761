"""Folders of checkpoints: their results and cards, and the Hugging Face Hub.

`folders` and `cards` write what is published, `compared` holds the runs that a card compares,
`checking` finds what is wrong with a folder, `pushing` and `pulling` send and fetch it. Nothing
here imports huggingface_hub until it is used.
"""

from __future__ import annotations

from .cards import card_text, hub_split, markdown_table, model_card, recipe_text, wrap_text
from .folders import (
    CARD,
    RESULTS,
    machine,
    pack_folder,
    today,
    versions,
    write_card,
    write_results,
)

__all__ = [
    "CARD",
    "RESULTS",
    "card_text",
    "hub_split",
    "machine",
    "markdown_table",
    "model_card",
    "pack_folder",
    "recipe_text",
    "today",
    "versions",
    "wrap_text",
    "write_card",
    "write_results",
]
