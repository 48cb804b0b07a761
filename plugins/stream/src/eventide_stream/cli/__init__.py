"""The command `eventide stream`. What a command needs is imported when it runs."""

from __future__ import annotations

from eventide.cli.tools import make_group

from .evaluate import evaluate
from .pack import pack
from .predict import predict
from .train import train

app = make_group(
    "stream",
    "STREAM on point clouds and event streams: train, evaluate, predict, publish.",
    train, evaluate, predict, pack,
)  # fmt: skip
