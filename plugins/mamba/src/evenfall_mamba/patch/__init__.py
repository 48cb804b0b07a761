"""The patch "mamba" and its two targets."""

from __future__ import annotations

from evenfall.patches import Patch

from . import huggingface, mamba_ssm

PATCH = Patch({"transformers": huggingface.TARGET, "mamba_ssm": mamba_ssm.TARGET})
