"""The backend of a public call: chosen once, in the forward pass, and handed on by name.

An operator takes the name as an argument and gives it to its backward pass, which autograd may run
outside of `use_backend` or in a thread of its own. A compiled graph holds the name as a constant:
it keeps the backend it was traced with, whatever `use_backend` says later.

PyTorch's dispatcher takes as long as a short sequence. A call that only asks for numbers skips it;
one that somebody watches (autograd, a tracer, a mode, a tensor of another kind) does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _is_tracing
from torch._C._functorch import is_functorch_wrapped_tensor, maybe_current_level
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from evenfall import registry
from evenfall.backends import select
from evenfall.errors import BackendError

REFERENCE = "reference"
_PLAIN = (Tensor, torch.nn.Parameter)


class Choice(NamedTuple):
    """The backend of one call."""

    backend: str  # its name, an argument of the operator
    module: Any  # the backend itself, to be called directly; None: call the operator
    differentiable: bool  # whether autograd records the call


def choose(operation: str, tensors: Sequence[Tensor], dtype: torch.dtype | None = None) -> Choice:
    """Choose the backend of a public call; ask once a call.

    The reference is called directly, because it is differentiable in every order and mode. Only a
    recorded call (torch.compile, torch.jit.trace) goes to the operator, which can look at the
    values of cu_seqlens when the graph runs.

    Args:
        operation: its name in the registry, such as "selective_scan".
        tensors: every tensor among the arguments; the first says the device and the dtype.
        dtype: serve this dtype instead of the first tensor's.

    Raises:
        BackendError: no backend serves the device and dtype; or a tensor is one of torch.func's
            transforms, or carries a forward-mode tangent, and the backend is not the reference.
    """
    first = tensors[0]
    dtype = first.dtype if dtype is None else dtype
    differentiable = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if first.is_meta:  # shapes alone are the same from every backend
        return Choice(REFERENCE, None, differentiable)
    if is_recorded():
        name = _constant_name(operation, first.device.type, dtype)
        return Choice(name, None, differentiable)
    kernel = select(operation, device=first.device.type, dtype=dtype)
    if kernel.backend == REFERENCE:
        return Choice(REFERENCE, kernel.load(), differentiable)
    _refuse_transforms(operation, kernel.backend, tensors)
    direct = not differentiable and _are_plain(tensors)
    return Choice(kernel.backend, kernel.load() if direct else None, differentiable)


def backend_module(operation: str, backend: str) -> Any:
    """The module of a backend that was chosen before; for operators."""
    return registry.kernels.get(f"{operation}/{backend}")


def is_recorded() -> bool:
    """Whether torch.compile or torch.jit.trace records the call."""
    return torch.compiler.is_compiling() or _is_tracing()


def is_unwatched(tensors: Iterable[Tensor]) -> bool:
    """Whether these are plain tensors outside of every tracer and mode, their numbers as stored."""
    return not is_recorded() and _are_plain(tensors)


def can_be_read(tensor: Tensor) -> bool:
    """Whether its values can be looked at for free: on the CPU, outside of every tracer."""
    return tensor.is_cpu and is_unwatched([tensor]) and not is_functorch_wrapped_tensor(tensor)


def check_recorded(operation: str, save: bool) -> None:
    """For a backward pass, which reads what the forward pass saves only where `save` says so.

    Raises:
        BackendError: the forward pass saved nothing.
    """
    if not save:
        raise BackendError(
            f"{operation}: the graph was recorded without gradients; record it with an input that "
            "requires grad, outside of no_grad"
        )


@torch.compiler.assume_constant_result
def _constant_name(operation: str, device: str, dtype: torch.dtype) -> str:
    return select(operation, device=device, dtype=dtype).backend


def _are_plain(tensors: Iterable[Tensor]) -> bool:
    if is_in_torch_dispatch_mode():
        return False
    # A loop, not all() of a generator: this is asked for every token.
    for tensor in tensors:
        if type(tensor) not in _PLAIN or tensor.is_meta or tensor.is_neg():
            return False
    return True


def _refuse_transforms(operation: str, backend: str, tensors: Iterable[Tensor]) -> None:
    """Fast backends have first derivatives in reverse mode; others they would lose in silence."""
    # Unpacking each tensor costs microseconds: ask first whether there can be any such.
    if forward_ad._current_level < 0 and maybe_current_level() is None:
        return
    for tensor in tensors:
        dual = forward_ad.unpack_dual(tensor).tangent is not None
        if dual or is_functorch_wrapped_tensor(tensor):
            raise BackendError(
                f"{operation}: the backend {backend!r} does not support torch.func's transforms or "
                "forward-mode derivatives; use `with evenfall.use_backend('reference')`"
            )
