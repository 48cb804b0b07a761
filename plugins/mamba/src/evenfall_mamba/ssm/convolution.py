"""The functions of `causal_conv1d`.

B batch   D channels   L steps   W filter width   K inputs in a state
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall.errors import shorten
from evenfall_kernels import causal_conv1d
from evenfall_kernels.common.slots import read_slots

from ..packing import read_packing
from .called import called_convolution

_SILU = ("silu", "swish")


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    seq_idx: Tensor | None,
    initial: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor]:
    """Output (B, D, L) and final state (B, D, W - 1); seq_idx (B, L) is negative for padding."""
    rows = None if seq_idx is None else read_packing(seq_idx, len(x), x.shape[2])
    inputs = x if rows is None else rows.join(x)
    state = initial if rows is None else rows.sequence_states(initial)
    bounds = None if rows is None else rows.cu_seqlens
    out, final = causal_conv1d(
        inputs, weight, bias, initial_state=state, cu_seqlens=bounds,
        activation="silu" if silu else None, return_final_state=True,
    )  # fmt: skip
    called = called_convolution(inputs, state, bounds)
    if called is not None:
        out = F.silu(called) if silu else called
    if rows is None:
        return out, final
    return rows.without_padding(rows.split(out)), final[rows.last]


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Convolve each channel with its own causal filter.

    Args:
        x: (B, D, L).
        weight: (D, W).
        bias: (D,).
        seq_idx: (B, L) integers, the packed sequence of each step; where it is negative, the
            output is zero.
        initial_states: (B, D, W - 1), the inputs before x, oldest first.
        return_final_states: whether to return (out, final states).
        final_states_out: (B, D, W - 1), filled with the final states.
        activation: None, "silu" or "swish".

    Raises:
        ValueError: another activation, or shapes do not match.
    """
    out, final = convolve(x, weight, bias, seq_idx, initial_states, _is_silu(activation))
    if final_states_out is not None:
        final = final_states_out.copy_(final)
    return (out, final) if return_final_states else out


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    cache_seqlens: Tensor | None = None,
    conv_state_indices: Tensor | None = None,
) -> Tensor:
    """Convolve the next step or steps; changes the state in place.

    Args:
        x: (B, D) or (B, D, L).
        conv_state: (B, D, K), K >= W - 1, oldest input first; may have more than B rows with
            `conv_state_indices`.
        weight: (D, W).
        bias: (D,).
        activation: None, "silu" or "swish".
        cache_seqlens: (B,) integers, the number of earlier inputs; conv_state is then a ring
            buffer, and the next input goes to this number modulo K.
        conv_state_indices: (B,) integers, the row of conv_state for each sequence; a negative index
            marks padding, whose output is zero.

    Returns:
        Same shape as x.

    Raises:
        TypeError: conv_state_indices are not integers.
        ValueError: another activation, shapes do not match, or an index is too large.
    """
    silu, needed = _is_silu(activation), weight.shape[1] - 1
    new = x[..., None] if x.dim() == 2 else x
    slots = None
    if conv_state_indices is not None:
        slots = read_slots("conv_state_indices", conv_state_indices, len(x), conv_state)
    rows = conv_state if slots is None else slots.read(conv_state)
    if rows.shape[:2] != new.shape[:2]:
        batch, dim = new.shape[:2]
        raise ValueError(
            f"conv_state must have shape ({batch}, {dim}, {needed} or more) to match x, "
            f"got {tuple(rows.shape)}"
        )
    capacity = rows.shape[2]
    if capacity < needed:
        raise ValueError(
            f"conv_state must have room for {needed} inputs, the filter width less 1, "
            f"got {capacity}"
        )
    if cache_seqlens is None:
        before = rows[..., capacity - needed :]
        after = torch.cat([rows, new.to(rows.dtype)], dim=2)[..., -capacity:]
    else:
        before = rows.gather(2, _ring_index(cache_seqlens, -needed, 0, rows))
        length = new.shape[2]
        last = new[..., max(0, length - capacity) :].to(rows.dtype)
        index = _ring_index(cache_seqlens, length - last.shape[2], length, rows)
        after = rows.scatter(2, index, last)
    out, _ = convolve(new, weight, bias, None, before.to(new.dtype), silu)
    with torch.no_grad():
        if slots is None:
            conv_state.copy_(after)
        else:
            slots.write(conv_state, after)
    out = out if slots is None else slots.without_padding(out)
    return out[..., 0] if x.dim() == 2 else out


def _ring_index(count: Tensor, start: int, stop: int, ring: Tensor) -> Tensor:
    """Positions in a ring (B, D, K) of inputs count + start to count + stop: (B, D, stop - start).

    `count` (B,) is the number of earlier inputs.
    """
    steps = torch.arange(start, stop, device=ring.device)
    index = (count.long()[:, None] + steps).remainder(ring.shape[2])
    return index[:, None].expand(-1, ring.shape[1], -1)


def _is_silu(activation: str | None) -> bool:
    if activation not in (None, *_SILU):
        raise ValueError(f"activation must be None, 'silu' or 'swish', got {shorten(activation)}")
    return activation is not None
