"""The operations in the form of the `kernels` package, for models that run through `kernelize`.

    from kernels import Mode, kernelize, use_kernel_mapping

    with use_kernel_mapping(kernel_mapping()):
        kernelize(model, mode=Mode.INFERENCE, device="cpu")

This module does not import `kernels`: a repository is whatever is hashable and has `load`. Inside
the patch "mamba" no mapping is needed, since our operations are called instead of the layers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from . import operations

DEVICES = ("cpu", "cuda", "rocm", "xpu")


def causal_conv1d_fn(
    hidden_states: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    **kwargs: Any,
) -> Tensor:
    """(B, D, L) -> (B, D, L) by the host's parameters: `kernels` wants no more and no fewer.

    Raises:
        ValueError: sequences are packed. The scan of such a model is not told, and would leak.
    """
    packed = [name for name in ("seq_idx", "cu_seqlens") if kwargs.get(name) is not None]
    if packed:
        raise ValueError(
            f"{packed[0]} must be None in a kernelized model, got a tensor: packed sequences are "
            'kept apart inside evenfall.patch("mamba")'
        )
    return operations.causal_conv1d_fn(hidden_states, weight, bias, activation)


# selective_state_update is not among them: Mamba-2 models look theirs, of another shape, up by the
# same name. The host's convolutions are the same code in every family, so ours serve them all.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "causal_conv1d_fn": causal_conv1d_fn,
    "causal_conv1d_update": operations.causal_conv1d_update,
    "selective_scan_fn": operations.mamba_selective_scan,
}
"""The name by which transformers looks an operation up -> ours."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where `kernels` takes an operation from."""

    name: str

    def load(self) -> type[nn.Module]:
        """A layer without state whose forward is the operation, by the same parameters."""
        operation = OPERATIONS[self.name]

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return operation(*args, **kwargs)

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(operation).parameters.values()
        forward.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
        members = {"forward": forward, "can_torch_compile": True, "has_backward": True}
        return type(self.name, (nn.Module,), members)


def kernel_mapping() -> dict[str, dict[str, Any]]:
    """Name of an operation -> device -> repository: what `use_kernel_mapping` takes.

    `kernelize` writes to operations that all models of the process share and cannot be undone. A
    model run this way does not carry its state over calls of several tokens; the patch does that.
    """
    return {name: dict.fromkeys(DEVICES, Repository(name)) for name in OPERATIONS}
