"""The scan under the model: Evenfall's kernels where installed, else plain PyTorch.

A checkpoint folder that carries its own code has the plain form beside this file.
"""

from __future__ import annotations

import torch

try:
    from evenfall_kernels import egru_scan
    from evenfall_kernels import event_matmul as event_linear
except ImportError:
    from .reference_egru import egru_scan

    event_linear = None

_FEW = 2  # vectors; beyond that a dense product reads the matrix once for all of them


def skips_silent(events: torch.Tensor) -> bool:
    """Whether reading only the rows of units that fired is possible and worth it, (..., units)."""
    return (
        event_linear is not None
        and events.device.type == "cpu"
        and events.numel() <= _FEW * events.shape[-1]
        and not torch.is_grad_enabled()
    )


__all__ = ["egru_scan", "event_linear", "skips_silent"]
