"""The command `evenfall egru`. Each command imports what it needs when it runs."""

from __future__ import annotations

from evenfall.cli.tools import make_group

from . import classify, convert, demo, evaluate, generate, pack, quantize, train

app = make_group(
    "egru",
    "EGRU language models: train, evaluate, generate, quantize, convert, publish.",
    train.train, classify.classify, evaluate.evaluate, generate.generate, convert.convert,
    quantize.quantize, pack.pack, demo.demo,
)  # fmt: skip
