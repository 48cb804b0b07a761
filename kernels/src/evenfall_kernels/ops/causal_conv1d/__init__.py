"""causal_conv1d: the short depthwise convolution of a Mamba block, with state and packing."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from evenfall.errors import shorten

from ...common.dispatch import choose
from ...common.sequences import check_cu_seqlens, check_sequence_ends
from ...common.slots import Slots, read_slots
from .op import causal_conv1d_op

__all__ = ["causal_conv1d"]


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    initial_state: Tensor | None = None,
    return_final_state: bool = False,
    activation: Literal["silu"] | None = None,
    cu_seqlens: Tensor | None = None,
    state_indices: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Convolve each channel with its own causal filter.

        out[d, t] = f(bias[d] + sum_w weight[d, w] x[d, t - W + 1 + w])

    where f is silu or the identity. x before the first step of a sequence is the initial state,
    zero by default. The final state is the last W - 1 inputs of each sequence, initial state
    included. A sequence in pieces equals the whole if each piece starts from the final state of
    the piece before. Sums are in float32, or float64 for float64 x. All inputs except `cu_seqlens`
    have gradients, and so does the final state.

    Args:
        x: (batch, dim, length) floating point.
        weight: (dim, W), W >= 1.
        bias: (dim,).
        initial_state: (sequences, dim, W - 1), the oldest input first.
        return_final_state: whether to return (out, final state).
        activation: "silu" or None.
        cu_seqlens: (sequences + 1,) integers: x is (1, dim, length) and contains sequences end to
            end, of which the k-th is cu_seqlens[k] <= t < cu_seqlens[k + 1]. Sequences do not
            affect one another. The values are checked in eager mode on the CPU, where this needs
            no synchronisation.
        state_indices: (sequences,) integers: initial_state is a cache of any number of rows, and
            each sequence has one of them, each row at most once. The final states are written to
            these rows, in place and without gradients. A negative index marks padding: its output
            and final state are zero, and no row changes.

    Returns:
        (batch, dim, length) in the dtype of x; with `return_final_state` also
        (sequences, dim, W - 1) in the dtype of x.

    Raises:
        TypeError: an argument is not a tensor of the right dtype.
        ValueError: shapes or devices do not match, `activation` is unknown, an index is too large,
            state_indices come without initial_state, or `cu_seqlens` does not start at 0,
            decreases, or does not end at length.
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference".

    Second derivatives are those of the reference: a backward pass with ``create_graph=True``
    computes the convolution once more in plain PyTorch.
    """
    _check(x, weight, bias, initial_state, activation)
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, x, "x")
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.numel() - 1
    shape = (sequences, x.shape[1], weight.shape[1] - 1)
    cache, slots = initial_state, None
    if state_indices is not None:
        if cache is None:
            raise ValueError("state_indices need initial_state, the cache of states, got None")
        slots = read_slots("state_indices", state_indices, sequences, cache)
        initial_state = slots.read(cache)
    if initial_state is not None and tuple(initial_state.shape) != shape:
        check_sequence_ends(cu_seqlens, x.shape[2])  # wrong cu_seqlens can be the cause
        raise ValueError(f"initial_state must have shape {shape}, got {tuple(initial_state.shape)}")
    arguments = x, weight, bias, initial_state, cu_seqlens, activation == "silu"
    choice = choose("causal_conv1d", [a for a in arguments if isinstance(a, Tensor)])
    check_sequence_ends(cu_seqlens, x.shape[2], choice.backend)
    if choice.module is None:
        out, final_state = causal_conv1d_op(*arguments, choice.backend)
    else:
        out, final_state = choice.module.forward(*arguments)
    if cache is not None and slots is not None:
        with torch.no_grad():
            slots.write(cache, final_state)
        final_state = slots.without_padding(final_state)
        out = _without_padding(out, slots, cu_seqlens)
    return (out, final_state) if return_final_state else out


def _without_padding(out: Tensor, slots: Slots, cu_seqlens: Tensor | None) -> Tensor:
    """The output (B, D, L) with zeros in sequences that are padding."""
    if cu_seqlens is None:
        return slots.without_padding(out)
    steps = torch.arange(out.shape[2], device=out.device)
    sequence = torch.searchsorted(cu_seqlens[1:].to(out.device), steps, right=True)
    return torch.where(slots.valid[sequence], out, 0)


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_state: Tensor | None,
    activation: str | None,
) -> None:
    tensors = {"x": x, "weight": weight, "bias": bias, "initial_state": initial_state}
    for name, tensor in tensors.items():
        if tensor is None and name in ("bias", "initial_state"):
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}, but x is on {x.device}")
    if x.dim() != 3:
        raise ValueError(f"x must have shape (batch, dim, length), got {tuple(x.shape)}")
    dim = x.shape[1]
    if weight.dim() != 2 or weight.shape[0] != dim or weight.shape[1] < 1:
        raise ValueError(f"weight must have shape ({dim}, W >= 1), got {tuple(weight.shape)}")
    if bias is not None and tuple(bias.shape) != (dim,):
        raise ValueError(f"bias must have shape ({dim},), got {tuple(bias.shape)}")
    if activation not in (None, "silu"):
        raise ValueError(f"activation must be 'silu' or None, got {shorten(activation)}")
