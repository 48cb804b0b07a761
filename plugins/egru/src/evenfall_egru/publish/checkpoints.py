"""The published EGRU checkpoints."""

from __future__ import annotations

from evenfall.checkpoints import Checkpoint

from ..loading import load_checkpoint
from .folder import add_code

EGRU_PTB_SMALL = Checkpoint(
    name="egru-ptb-small",
    folder="hub_cards/egru-ptb-small",
    load_folder=load_checkpoint,
    complete=add_code,
    hashes={
        "model.safetensors": "4428cf1e6955159509397e76e5144b5329b6ee003c9d84e99d57c9792b06d500",
        "tokenizer.json": "3265d4b5f8973851d253fde72e5d3ac8c7979bbf82003f4958e3cc856ccde2a8",
    },
)
