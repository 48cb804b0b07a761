"""The models and the forms of their weights, as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from egru_step import make_model

from evenfall_egru import EgruForCausalLM, quantize

FORMS = ("float32", "bfloat16", "float16", "int8")
CARD = Path(__file__).resolve().parents[3] / "hub_cards" / "egru-ptb-small"
LARGE = "3 x 1350"

Folders = dict[str, dict[str, Path]]


@torch.no_grad()
def save_folders(folder: Path) -> Folders:
    """Model -> form -> a folder with it."""
    found: Folders = {}
    for name in (CARD.name, LARGE):
        for form in FORMS:
            model: Any = (
                EgruForCausalLM.from_pretrained(CARD) if name == CARD.name else make_model()
            )
            path = folder / name.replace(" ", "") / form
            (model if form == "float32" else quantize(model, form)).save_pretrained(path)
            found.setdefault(name, {})[form] = path
    return found
