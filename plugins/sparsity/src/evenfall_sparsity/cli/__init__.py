"""The command `evenfall sparsity`. Each command imports what it needs when it runs."""

from __future__ import annotations

from evenfall.cli.tools import make_group

from .study import study

app = make_group("sparsity", "Weight sparsity: prune a model and count what is left.", study)
