"""The scan of a layer: Evenfall's kernels if installed, else plain PyTorch.

In a published folder, the plain PyTorch version is next to this file.
"""

from __future__ import annotations

from typing import Any

import torch

from .recording_egru import is_exported_to_onnx, is_in_graph

try:
    from evenfall.backends import use_backend
    from evenfall_kernels import egru_scan as _scan
    from evenfall_kernels import egru_scan_stored as _scan_stored
    from evenfall_kernels import event_matmul as event_linear
except ImportError:  # a published folder has reference_egru; here it does not exist
    from .reference_egru import egru_scan as _scan  # type: ignore[import-not-found,no-redef]

    event_linear = _scan_stored = None  # type: ignore[assignment]

_FEW = 2  # vectors; for more, a dense product, which reads the matrix once, is faster


def egru_scan(x: Any, kernel: Any, recurrent_kernel: Any, *vectors: Any, **options: Any) -> Any:
    """evenfall_kernels.egru_scan; in plain operations for ONNX, which has no others.

    A compressed model has evenfall_kernels.StoredMatrix in place of kernel or recurrent_kernel.
    """
    if not (isinstance(kernel, torch.Tensor) and isinstance(recurrent_kernel, torch.Tensor)):
        if options["training"]:
            raise ValueError(
                "a quantised or compressed model cannot be trained; call eval(), or dequantize() "
                "to train its matrices"
            )
        if not is_exported_to_onnx():
            options.pop("event_driven")  # it always is
            return _scan_stored(x, kernel, recurrent_kernel, *vectors, **options)
        kernel, recurrent_kernel = (as_tensor(one, x) for one in (kernel, recurrent_kernel))
    if event_linear is not None and is_exported_to_onnx():
        with use_backend("reference", "egru_scan"):
            return _scan(x, kernel, recurrent_kernel, *vectors, **options)
    return _scan(x, kernel, recurrent_kernel, *vectors, **options)


def as_tensor(matrix: Any, x: torch.Tensor) -> torch.Tensor:
    """A weight, or the dense form of a StoredMatrix, in the dtype of x."""
    dense: torch.Tensor = matrix if isinstance(matrix, torch.Tensor) else matrix.dense()
    return dense.to(x.dtype)


def skips_silent(events: torch.Tensor) -> bool:
    """Whether reading only the rows of units that fired is possible and faster, (..., units)."""
    return (
        event_linear is not None
        and events.device.type == "cpu"
        and events.numel() <= _FEW * events.shape[-1]
        and not torch.is_grad_enabled()
        and not is_in_graph()
    )


__all__ = ["as_tensor", "egru_scan", "event_linear", "skips_silent"]
