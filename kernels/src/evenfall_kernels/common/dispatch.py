"""Calls that may go straight to a backend, and calls that a fast backend must refuse.

PyTorch's dispatcher takes as long as a short sequence. A call that only asks for numbers skips it;
one that somebody watches (a tracer, a mode, a tensor of another kind) does not.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch._C import _is_tracing
from torch._C._functorch import is_functorch_wrapped_tensor, maybe_current_level
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from evenfall.errors import BackendError

_PLAIN = (Tensor, torch.nn.Parameter)


def is_unwatched(tensors: Iterable[Tensor]) -> bool:
    """Whether these are plain tensors outside of every tracer and mode, their numbers as stored."""
    if torch.compiler.is_compiling() or _is_tracing() or is_in_torch_dispatch_mode():
        return False
    # A loop, not all() of a generator: this is asked for every token.
    for tensor in tensors:
        if type(tensor) not in _PLAIN or tensor.is_meta or tensor.is_neg():
            return False
    return True


def can_be_read(tensor: Tensor) -> bool:
    """Whether its values can be looked at for free: on the CPU, outside of every tracer."""
    return tensor.is_cpu and is_unwatched([tensor]) and not is_functorch_wrapped_tensor(tensor)


def refuse_transforms(operation: str, backend: str, tensors: Iterable[Tensor]) -> None:
    """Fast backends know first derivatives by reverse mode; of others they would lose track.

    Raises:
        BackendError: a tensor is one of torch.func's or carries a forward-mode tangent.
    """
    if torch.compiler.is_compiling():
        return
    # Unpacking each tensor costs microseconds: ask first whether there can be any such.
    if forward_ad._current_level < 0 and maybe_current_level() is None:
        return
    for tensor in tensors:
        dual = forward_ad.unpack_dual(tensor).tangent is not None
        if dual or is_functorch_wrapped_tensor(tensor):
            raise BackendError(
                f"{operation}: the backend {backend!r} knows neither torch.func's transforms nor "
                "forward-mode derivatives; `with evenfall.use_backend('reference')` does"
            )
