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
        "tokenizer.json": "dd6fa0d7dca0c7753dda904cae43b891f0a289f345d73c407f94d8bd15a1113b",
    },
)
