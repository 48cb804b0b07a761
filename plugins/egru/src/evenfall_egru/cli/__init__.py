"""The command `evenfall egru`. What a command needs is imported when it runs."""

from __future__ import annotations

from evenfall.cli.tools import make_group

from .convert import convert
from .demo import demo
from .evaluate import evaluate
from .generate import generate
from .pack import pack
from .train import train

app = make_group(
    "egru",
    "EGRU language models: train, evaluate, generate, convert, publish.",
    train, evaluate, generate, convert, pack, demo,
)  # fmt: skip
