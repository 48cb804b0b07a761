"""The published EGRU checkpoints."""

from __future__ import annotations

from typing import Any

from evenfall.checkpoints import Checkpoint
from evenfall.hub.compared import published_accuracy

from ..loading import load_checkpoint, load_classifier
from .folder import add_code


def _card(results: dict[str, Any]) -> object:
    from .card import make_card

    return make_card(results)


def _recorded(results: dict[str, Any], split: str) -> float:
    """The perplexity of the trainer's protocol, full carry."""
    evaluations = [e for e in results["evaluations"] if e["carry"] == "full"]
    return float(next(e["perplexity"] for e in evaluations if e["split"] == split))


def _classifier_card(results: dict[str, Any]) -> object:
    from .classifier_card import make_card

    return make_card(results)


EGRU_PTB_SMALL = Checkpoint(
    name="egru-ptb-small",
    folder="hub_cards/egru-ptb-small",
    load_folder=load_checkpoint,
    complete=add_code,
    make_card=_card,
    trainer="egru",
    recorded=_recorded,
    hashes={
        "model.safetensors": "4428cf1e6955159509397e76e5144b5329b6ee003c9d84e99d57c9792b06d500",
        "tokenizer.json": "3265d4b5f8973851d253fde72e5d3ac8c7979bbf82003f4958e3cc856ccde2a8",
    },
)

EGRU_PTB_SPARSE = Checkpoint(
    name="egru-ptb-sparse",
    folder="hub_cards/egru-ptb-sparse",
    load_folder=load_checkpoint,
    complete=add_code,
    make_card=_card,
    trainer="egru",
    recorded=_recorded,
    hashes={
        "model.safetensors": "2be4633c496cfd2ed9b507b327b83ee92a191c0f793a1b854feb04b8aefe8a1c",
        "tokenizer.json": "3265d4b5f8973851d253fde72e5d3ac8c7979bbf82003f4958e3cc856ccde2a8",
    },
)

EGRU_SMNIST_SMALL = Checkpoint(
    name="egru-smnist-small",
    folder="hub_cards/egru-smnist-small",
    load_folder=load_classifier,
    complete=add_code,
    make_card=_classifier_card,
    trainer="egru-classifier",
    recorded=published_accuracy,
    hashes={
        "model.safetensors": "41c38003e14f59a5addf6c36992df3e75353214cfb72a6ea9623da8ec4678654",
    },
)
