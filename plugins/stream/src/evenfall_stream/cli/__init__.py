"""The command `evenfall stream`. What a command needs is imported when it runs."""

from __future__ import annotations

import warnings

from evenfall.cli.tools import make_group

from . import evaluate, pack, predict, train
from .common import needs

# Said by PyTorch of one of the hosts whenever they are imported; nothing a user can mend.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

app = make_group(
    "stream",
    "STREAM on point clouds and event streams: train, evaluate, predict, publish.",
    needs("train", train.train), needs("train", evaluate.evaluate), predict.predict,
    needs("train", pack.pack),
)  # fmt: skip
