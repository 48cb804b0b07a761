"""The scan under the model: Evenfall's kernels where installed, else plain PyTorch.

A checkpoint folder that carries its own code has the plain form beside this file.
"""

from __future__ import annotations

from typing import Any

import torch

from .recording_egru import is_exported_to_onnx, is_recorded

try:
    from evenfall.backends import use_backend
    from evenfall_kernels import egru_scan as _scan
    from evenfall_kernels import event_matmul as event_linear
except ImportError:
    from .reference_egru import egru_scan as _scan  # type: ignore[import-not-found,no-redef]

    event_linear = None  # type: ignore[assignment]

_FEW = 2  # vectors; beyond that a dense product reads the matrix once for all of them


def egru_scan(*inputs: Any, **options: Any) -> Any:
    """evenfall_kernels.egru_scan; in an ONNX file in plain operations, as it knows no others."""
    if event_linear is not None and is_exported_to_onnx():
        with use_backend("reference", "egru_scan"):
            return _scan(*inputs, **options)
    return _scan(*inputs, **options)


def skips_silent(events: torch.Tensor) -> bool:
    """Whether reading only the rows of units that fired is possible and worth it, (..., units)."""
    return (
        event_linear is not None
        and events.device.type == "cpu"
        and events.numel() <= _FEW * events.shape[-1]
        and not torch.is_grad_enabled()
        and not is_recorded()
    )


__all__ = ["egru_scan", "event_linear", "skips_silent"]
