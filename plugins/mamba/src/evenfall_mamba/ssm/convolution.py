"""The functions of `causal_conv1d`.

B batch   D channels   L steps   W filter width   K inputs kept
"""

from __future__ import annotations

import torch
from torch import Tensor

from evenfall_kernels import causal_conv1d

from ..packing import packing
from .slots import slots

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
    rows = None if seq_idx is None else packing(seq_idx, x.shape[2])
    out, final = causal_conv1d(
        x if rows is None else rows.join(x),
        weight,
        bias,
        initial_state=initial if rows is None else rows.spread(initial),
        cu_seqlens=None if rows is None else rows.cu_seqlens,
        activation="silu" if silu else None,
        return_final_state=True,
    )
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
    """Convolve each channel with its own filter, looking back only.

    Args:
        x: (B, D, L).
        weight: (D, W).
        bias: (D,).
        seq_idx: (B, L) integers, to which packed sequence each step belongs; outputs of negative
            ones are zero.
        initial_states: (B, D, W - 1), the inputs before the first, the oldest first.
        return_final_states: whether to return (out, final states).
        final_states_out: (B, D, W - 1), receives the final states.
        activation: None, "silu" or "swish".

    Raises:
        ValueError: another activation, or a shape that does not fit.
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
    """The same for the next step or steps, from a state that is changed in place.

    Args:
        x: (B, D) or (B, D, L).
        conv_state: (B, D, K), K >= W - 1, the oldest input first.
        weight: (D, W).
        bias: (D,).
        activation: None, "silu" or "swish".
        cache_seqlens: (B,) integers, inputs seen so far: conv_state is then a ring, whose next
            place is this number modulo K.
        conv_state_indices: (B,) integers, the rows of conv_state to use, which then may have more
            of them than B; a negative one marks padding, whose output is zero.

    Returns:
        As x.

    Raises:
        TypeError: conv_state_indices are not integers.
        ValueError: another activation, a shape that does not fit, or an index without a row.
    """
    silu, needed = _is_silu(activation), weight.shape[1] - 1
    new = x[..., None] if x.dim() == 2 else x
    used = None
    if conv_state_indices is not None:
        used = slots("conv_state_indices", conv_state_indices, len(x), conv_state)
    rows = conv_state if used is None else used.read(conv_state)
    if rows.shape[:2] != new.shape[:2]:
        raise ValueError(
            f"conv_state must have shape {tuple(new.shape[:2])} before its last dimension to match "
            f"x, got {tuple(rows.shape[:2])}"
        )
    kept = rows.shape[2]
    if kept < needed:
        raise ValueError(f"conv_state must keep at least {needed} inputs, got {kept}")
    if cache_seqlens is None:
        before = rows[..., kept - needed :]
        after = torch.cat([rows, new.to(rows.dtype)], dim=2)[..., -kept:]
    else:
        before = rows.gather(2, _places(cache_seqlens, -needed, 0, rows))
        length = new.shape[2]
        last = new[..., max(0, length - kept) :].to(rows.dtype)
        places = _places(cache_seqlens, length - last.shape[2], length, rows)
        after = rows.scatter(2, places, last)
    out, _ = convolve(new, weight, bias, None, before.to(new.dtype), silu)
    with torch.no_grad():
        if used is None:
            conv_state.copy_(after)
        else:
            used.write(conv_state, after)
    out = out if used is None else used.without_padding(out)
    return out[..., 0] if x.dim() == 2 else out


def _places(seen: Tensor, start: int, stop: int, ring: Tensor) -> Tensor:
    """Where in the ring (B, D, K) inputs start <= i < stop from now are: (B, D, stop - start)."""
    steps = torch.arange(start, stop, device=ring.device)
    index = (seen.long()[:, None] + steps).remainder(ring.shape[2])
    return index[:, None].expand(-1, ring.shape[1], -1)


def _is_silu(activation: str | None) -> bool:
    if activation not in (None, *_SILU):
        raise ValueError(f"activation must be None, 'silu' or 'swish', got {activation!r}")
    return activation is not None
