"""The patch "mamba": what changes in each of its two targets."""

from __future__ import annotations

from evenfall.patches import Patch

from . import huggingface, mamba_ssm

PATCH = Patch({"transformers": huggingface.TARGET, "mamba_ssm": mamba_ssm.TARGET})
