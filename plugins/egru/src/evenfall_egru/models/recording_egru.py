"""Whether PyTorch records a graph of the call, to run it on other data later.

Such a graph must not depend on the data of the recorded call.
"""

from __future__ import annotations

import torch

# PyTorch 2.6 cannot tell.
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def is_recorded() -> bool:
    """Whether torch.jit.trace, torch.export or an ONNX export records the call."""
    return torch.jit.is_tracing() or _is_exporting()


def is_exported_to_onnx() -> bool:
    """Whether torch.export records the call for an ONNX file, which has plain operations only.

    Under torch.jit.trace, the kernels record plain operations by themselves.
    """
    return _is_exporting() and torch.onnx.is_in_onnx_export()


__all__ = ["is_exported_to_onnx", "is_recorded"]
