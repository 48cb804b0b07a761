"""Choose the backend of a public call: once, in the forward pass.

An operator takes the backend's name as an argument and passes it to its backward pass, which
autograd may run outside `use_backend` or in another thread. A compiled graph stores the name as a
constant: it keeps the backend it was traced with, whatever `use_backend` says later.

PyTorch's dispatcher takes as long as a short sequence. Calls skip it unless autograd, a tracer, a
dispatch mode or a tensor subclass needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _is_torch_function_mode_enabled, _is_tracing
from torch._C._functorch import is_functorch_wrapped_tensor, maybe_current_level
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from evenfall import registry
from evenfall.backends import REFERENCE, forced_backend, select
from evenfall.errors import BackendError, BackendWarning, warn_user

_PLAIN = (Tensor, torch.nn.Parameter)
_NONE: Mapping[str, str] = {}


class Choice(NamedTuple):
    """The backend of one call."""

    backend: str  # its name, an argument of the operator
    module: Any  # the backend, to be called directly; None: call the operator
    differentiable: bool  # whether autograd records the call


def choose(
    operation: str,
    tensors: Sequence[Tensor],
    dtype: torch.dtype | None = None,
    lacking: Mapping[str, str] = _NONE,
) -> Choice:
    """Choose the backend of a public call. Each call does this once.

    The reference is called directly, because it supports every order and mode of differentiation.
    Only a traced call (torch.compile, torch.jit.trace) uses its operator, which can read the values
    of cu_seqlens when the graph runs.

    Args:
        operation: its name in the registry, such as "selective_scan".
        tensors: all tensor arguments; the first one sets the device and the dtype.
        dtype: replaces the first tensor's dtype.
        lacking: backends that cannot serve this call -> what they lack. The reference serves it.

    Raises:
        BackendError: no backend supports the device and dtype, or the forced one lacks what the
            call needs; or a tensor belongs to a torch.func transform or has a forward-mode tangent,
            and the backend is not the reference.

    Warns:
        BackendWarning: the reference serves the call because another backend lacks something.
    """
    first = tensors[0]
    dtype = first.dtype if dtype is None else dtype
    differentiable = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if first.is_meta:  # every backend returns the same shapes
        return Choice(REFERENCE, None, differentiable)
    if is_traced():
        name = _constant_name(operation, first.device.type, dtype)
        return Choice(REFERENCE if name in lacking else name, None, differentiable)
    kernel = select(operation, device=first.device.type, dtype=dtype)
    if kernel.backend in lacking:
        _check_not_forced(operation, kernel.backend, lacking[kernel.backend])
        return Choice(REFERENCE, backend_module(operation, REFERENCE), differentiable)
    if kernel.backend == REFERENCE:
        return Choice(REFERENCE, kernel.load(), differentiable)
    _refuse_transforms(operation, kernel.backend, tensors)
    direct = not differentiable and _are_plain(tensors)
    return Choice(kernel.backend, kernel.load() if direct else None, differentiable)


def _check_not_forced(operation: str, backend: str, what: str) -> None:
    """Raise if the backend is forced, else warn that the reference runs instead."""
    if forced_backend(operation) is not None:
        raise BackendError(f"{operation}: backend {backend!r} does not have {what}")
    warn_user(
        f"{operation}: backend {backend!r} does not have {what}; the slow backend 'reference' runs",
        BackendWarning,
    )


def backend_module(operation: str, backend: str) -> Any:
    """The module of the backend with this name; for operators."""
    return registry.kernels.get(f"{operation}/{backend}")


def is_traced() -> bool:
    """Whether torch.compile or torch.jit.trace traces the call."""
    return torch.compiler.is_compiling() or _is_tracing()


def is_plain_eager(tensors: Iterable[Tensor]) -> bool:
    """Whether all are plain tensors, not lazily negated, outside tracers and dispatch modes."""
    return not is_traced() and _are_plain(tensors)


def runs_as_written() -> bool:
    """Whether no tracer, mode, transform or autocast changes what PyTorch runs."""
    return not (
        is_traced()
        or is_in_torch_dispatch_mode()
        or _is_torch_function_mode_enabled()
        or torch.is_autocast_enabled("cpu")
        or forward_ad._current_level >= 0
        or maybe_current_level() is not None
    )


def can_be_read(tensor: Tensor) -> bool:
    """Whether reading its values is free: on the CPU, outside tracers and transforms."""
    return tensor.is_cpu and is_plain_eager([tensor]) and not is_functorch_wrapped_tensor(tensor)


def check_saved(operation: str, save: bool) -> None:
    """Check in the backward pass that the forward pass ran with `save`.

    Raises:
        BackendError: it saved nothing for the backward pass.
    """
    if not save:
        raise BackendError(
            f"{operation}: the graph was traced without gradients; trace it with an input that "
            "requires grad, outside no_grad"
        )


def _constant_name(operation: str, device: str, dtype: torch.dtype) -> str:
    return select(operation, device=device, dtype=dtype).backend


# As torch.compiler.assume_constant_result does, which imports torch._dynamo: half of the time that
# `import evenfall_kernels` takes besides torch.
_constant_name._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _are_plain(tensors: Iterable[Tensor]) -> bool:
    if is_in_torch_dispatch_mode():
        return False
    # A loop is faster than all() of a generator, and this runs for every token.
    for tensor in tensors:
        if type(tensor) not in _PLAIN or tensor.is_meta or tensor.is_neg():
            return False
    return True


def _refuse_transforms(operation: str, backend: str, tensors: Iterable[Tensor]) -> None:
    """Fast backends have first derivatives in reverse mode; they would drop all others silently."""
    # Unpacking a tensor takes microseconds: first check that a transform or a tangent can exist.
    if forward_ad._current_level < 0 and maybe_current_level() is None:
        return
    for tensor in tensors:
        dual = forward_ad.unpack_dual(tensor).tangent is not None
        if dual or is_functorch_wrapped_tensor(tensor):
            raise BackendError(
                f"{operation}: backend {backend!r} does not support torch.func or forward-mode AD; "
                "use `with evenfall.use_backend('reference')`"
            )
