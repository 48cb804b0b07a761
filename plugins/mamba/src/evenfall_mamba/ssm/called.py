"""Layers that a block reads and does not call, called nonetheless where adapters or hooks need it.

The blocks of mamba_ssm and transformers take the weight of their convolution, and some that of the
projection to delta. An adapter such as LoRA, or a hook, would then have no effect and get no
gradient. A block that has one runs inside `calling`, where convolution and scan find the layer.

B batch   D channels   L steps   W filter width   R rank of delta
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

_PLAIN = (nn.Linear.forward, nn.Conv1d.forward)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _Called(threading.local):
    convolution: nn.Module | None = None
    delta: nn.Module | None = None


_called = _Called()


def is_plain(layer: nn.Module) -> bool:
    """Whether calling the layer only applies its weight and its bias."""
    own = type(layer).__module__.startswith("mamba_ssm.")
    replaced = "forward" in vars(layer) or type(layer).forward not in _PLAIN
    return not any(getattr(layer, name) for name in _HOOKS) and (own or not replaced)


@contextmanager
def calling(convolution: nn.Module | None, delta: nn.Module | None = None) -> Iterator[None]:
    """In this block the convolution, and the projection to delta, are these layers, if given."""
    before = _called.convolution, _called.delta
    _called.convolution, _called.delta = convolution, delta
    try:
        yield
    finally:
        _called.convolution, _called.delta = before


def is_called() -> bool:
    """Whether the convolution is a layer that must be called."""
    return _called.convolution is not None


def called_convolution(
    x: Tensor, initial_state: Tensor | None, cu_seqlens: Tensor | None
) -> Tensor | None:
    """The output (B, D, L) of the layer that must be called, before activation; None without one.

    Args:
        x: (B, D, L); with `cu_seqlens`, sequences packed into a single row.
        initial_state: (B or sequences, D, W - 1), the inputs before x.
        cu_seqlens: the bounds of the sequences.
    """
    layer = _called.convolution
    if layer is None:
        return None
    if cu_seqlens is None:
        return _convolve(layer, x, initial_state)
    states = [None] * cu_seqlens.numel() if initial_state is None else initial_state.split(1)
    bounds = zip(pairwise(cu_seqlens.tolist()), states, strict=False)
    return torch.cat([_convolve(layer, x[..., a:b], state) for (a, b), state in bounds], dim=2)


def _convolve(layer: nn.Module, x: Tensor, initial_state: Tensor | None) -> Tensor:
    inputs = x if initial_state is None else torch.cat([initial_state.to(x.dtype), x], dim=2)
    end = inputs.shape[2]
    out: Tensor = layer(inputs)[..., end - x.shape[2] : end]
    return out


def called_delta(rank: Tensor, dim: int) -> Tensor:
    """Delta from its rank; `rank` is already delta unless a layer must be called.

    Args:
        rank: R numbers in dimension `dim`.
    """
    layer = _called.delta
    return rank if layer is None else layer(rank.movedim(dim, -1)).movedim(-1, dim)
