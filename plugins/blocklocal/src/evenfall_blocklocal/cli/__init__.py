"""The command `evenfall blocklocal`. Each command imports what it needs when it runs."""

from __future__ import annotations

from evenfall.cli.tools import make_group

from . import compare, picture, split, train

app = make_group(
    "blocklocal",
    "Block-local learning: split models into blocks, train them, compare rules.",
    split.split,
    train.train,
    compare.compare,
    picture.picture,
)
