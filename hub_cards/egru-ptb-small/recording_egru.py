"""Whether PyTorch records a graph of the call, to run it on other data later.

What such a graph must not hold is a decision that was read off the data of the recorded call.
"""

from __future__ import annotations

import torch


def is_recorded() -> bool:
    """Whether torch.jit.trace, torch.export or an ONNX export records the call."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def is_for_onnx() -> bool:
    """Whether the graph that is recorded becomes an ONNX file."""
    return is_recorded() and torch.onnx.is_in_onnx_export()


__all__ = ["is_for_onnx", "is_recorded"]
