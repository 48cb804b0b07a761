"""The command `evenfall stream`. A command imports what it needs when it runs."""

from __future__ import annotations

from evenfall.cli.tools import make_group

from . import evaluate, pack, predict, train
from .common import needs

app = make_group(
    "stream",
    "STREAM on point clouds and event streams: train, evaluate, predict, pack.",
    needs("train", train.train), needs("train", evaluate.evaluate), predict.predict,
    needs("train", pack.pack),
)  # fmt: skip
