"""The command `evenfall sparsity`. Each command imports what it needs when it runs."""

from __future__ import annotations

from evenfall.cli.tools import make_group

from . import compressing, demo, measuring, pruning, studies

app = make_group(
    "sparsity",
    "Weight sparsity: prune a model, count what is left, store it so that it runs faster.",
    pruning.prune, measuring.measure, compressing.compress, studies.study, demo.demo,
)  # fmt: skip
