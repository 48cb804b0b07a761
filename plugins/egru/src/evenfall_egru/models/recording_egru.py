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


def is_in_graph() -> bool:
    """Whether the call becomes part of a graph, of torch.compile or of what is_recorded names.

    A graph must not read values, which breaks it in two or makes them constants.
    """
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def is_exported_to_onnx() -> bool:
    """Whether torch.export records the call for an ONNX file."""
    return _is_exporting() and torch.onnx.is_in_onnx_export()


def is_plain_graph() -> bool:
    """Whether the graph can only have plain operations: a trace or an ONNX file.

    Under torch.jit.trace, the kernels record plain operations by themselves.
    """
    return torch.jit.is_tracing() or is_exported_to_onnx()


def check_in_graph(condition: torch.Tensor, message: str) -> None:
    """Let the compiled graph check this when it runs; a recorded graph does not check values.

    The graph raises RuntimeError with the message.
    """
    if not is_recorded():
        torch._assert_async(condition, message)


__all__ = ["check_in_graph", "is_exported_to_onnx", "is_in_graph", "is_plain_graph", "is_recorded"]
