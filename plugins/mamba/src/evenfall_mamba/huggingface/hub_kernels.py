"""The operations as layers for the `kernels` package and its `kernelize`.

    from kernels import Mode, kernelize, use_kernel_mapping

    with use_kernel_mapping(kernel_mapping()):
        kernelize(model, mode=Mode.INFERENCE, device="cpu")

This module does not import `kernels`: any hashable object with `load` can be a repository. The
patch "mamba" needs no mapping, since it replaces the layers by Evenfall's operations.
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
    """(B, D, L) -> (B, D, L), with exactly the host's parameters, as `kernels` requires.

    Raises:
        ValueError: sequences are packed. The scan of such a model does not know it and would leak.
    """
    packed = [name for name in ("seq_idx", "cu_seqlens") if kwargs.get(name) is not None]
    if packed:
        raise ValueError(
            f"{packed[0]} must be None in a kernelized model, got a tensor; for packed sequences "
            'use evenfall.patch("mamba")'
        )
    return operations.causal_conv1d_fn(hidden_states, weight, bias, activation)


# Without selective_state_update: Mamba-2 models look up theirs, of another shape, by the same name.
# The host's convolutions are the same code in every family, so these two serve all families.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "causal_conv1d_fn": causal_conv1d_fn,
    "causal_conv1d_update": operations.causal_conv1d_update,
    "selective_scan_fn": operations.mamba_selective_scan,
}
"""Name under which transformers looks up an operation -> the operation here."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A source of one operation for `kernels`."""

    name: str

    def load(self) -> type[nn.Module]:
        """A layer class without state whose forward is the operation, with its parameters."""
        operation = OPERATIONS[self.name]

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return operation(*args, **kwargs)

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(operation).parameters.values()
        forward.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
        members = {"forward": forward, "can_torch_compile": True, "has_backward": True}
        return type(self.name, (nn.Module,), members)


def kernel_mapping() -> dict[str, dict[str, Any]]:
    """The argument of `use_kernel_mapping`: name of an operation -> device -> repository.

    `kernelize` changes operations that all models of the process share, and cannot be undone. A
    kernelized model loses its state between calls of several tokens; the patch keeps it.
    """
    return {name: dict.fromkeys(DEVICES, Repository(name)) for name in OPERATIONS}
