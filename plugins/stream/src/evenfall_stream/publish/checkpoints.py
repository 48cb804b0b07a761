"""The published STREAM checkpoints. The folders contain no code: users install the package."""

from __future__ import annotations

from typing import Any

from evenfall.checkpoints import Checkpoint
from evenfall.hub.compared import published_accuracy

from ..models.loading import load_trained


def _card(results: dict[str, Any]) -> object:
    from .card import make_card

    return make_card(results)


STREAM_MODELNET10_SMALL = Checkpoint(
    name="stream-modelnet10-small",
    folder="hub_cards/stream-modelnet10-small",
    load_folder=load_trained,
    make_card=_card,
    trainer="stream",
    recorded=published_accuracy,
    hashes={
        "model.safetensors": "129e8b3dc61a1596b275d4373a28a1838e95f7ca0bdb4ebf098694604001e60d"
    },
)

STREAM_NMNIST_SMALL = Checkpoint(
    name="stream-nmnist-small",
    folder="hub_cards/stream-nmnist-small",
    load_folder=load_trained,
    make_card=_card,
    trainer="stream",
    recorded=published_accuracy,
    hashes={
        "model.safetensors": "2b3450cdf528f06ed8f27fc70201199ac7e7249307df7b33ec1d31143b8c9b63"
    },
)

STREAM_DIGITS_SMALL = Checkpoint(
    name="stream-digits-small",
    folder="hub_cards/stream-digits-small",
    load_folder=load_trained,
    make_card=_card,
    trainer="stream",
    recorded=published_accuracy,
    hashes={
        "model.safetensors": "6eb43f2824669a29c14709df50c69488d3b048eda1c02c3f0ee021a4bbd84542"
    },
)
