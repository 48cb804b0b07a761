"""States and gradients at the ends of sequences, in tensor operations without synchronisation.

B batch   D channels   L steps   W filter width   S sequences (B, or those packed into one row)

Position p of a sequence counts from its first step; p < 0 is in its initial state, at p + W - 1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def segments(x: Tensor, cu_seqlens: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first step and the index of the sequence of each step, (L,) int64 each."""
    if cu_seqlens is None:
        none = torch.zeros(1, dtype=torch.int64, device=x.device)
        return none, none
    ends = cu_seqlens.to(x.device, torch.int64)
    steps = torch.arange(x.shape[2], device=x.device)
    sequence = torch.searchsorted(ends, steps, right=True) - 1
    # Nobody has checked the values on a GPU: wrong ones must not lead outside the arrays.
    sequence = sequence.clamp(0, max(len(ends) - 2, 0))
    return torch.minimum(ends[sequence].clamp(min=0), steps), sequence


def _starts_and_lengths(like: Tensor, cu_seqlens: Tensor | None) -> tuple[Tensor, Tensor]:
    if cu_seqlens is None:
        starts = torch.zeros(like.shape[0], dtype=torch.int64, device=like.device)
        return starts, starts + like.shape[2]
    ends = cu_seqlens.to(like.device, torch.int64)
    return ends[:-1], ends.diff()


def _gather(rows: Tensor, at: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """rows (B, D, L) at steps `at` (S, K) -> (S, D, K)."""
    source = rows if cu_seqlens is None else rows.expand(at.shape[0], -1, -1)
    return source.gather(2, at.unsqueeze(1).expand(-1, rows.shape[1], -1))


def final_state(x: Tensor, state: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """The last W - 1 inputs of each sequence, (S, D, W - 1), from x or from its initial state.

    It has the dtype of x, whatever that of the state is.
    """
    size, state = state.shape[2], state.to(x.dtype)
    if size == 0 or x.shape[2] == 0:
        return state.clone()
    starts, lengths = _starts_and_lengths(x, cu_seqlens)
    p = lengths[:, None] - size + torch.arange(size, device=x.device)  # (S, W - 1)
    inputs = _gather(x, (starts[:, None] + p).clamp(0, x.shape[2] - 1), cu_seqlens)
    slot = (p + size).clamp(max=size - 1).unsqueeze(1).expand(-1, x.shape[1], -1)
    return torch.where((p >= 0).unsqueeze(1), inputs, state.gather(2, slot))


def add_final_gradient(d_x: Tensor, grad_final: Tensor, cu_seqlens: Tensor | None) -> None:
    """Add the gradient through the final states to d_x, in place."""
    size = grad_final.shape[2]
    if size == 0 or d_x.numel() == 0:
        return
    starts, lengths = _starts_and_lengths(d_x, cu_seqlens)
    p = lengths[:, None] - size + torch.arange(size, device=d_x.device)
    grad = torch.where((p >= 0).unsqueeze(1), grad_final.to(d_x.dtype), 0)
    at = (starts[:, None] + p).clamp(0, d_x.shape[2] - 1)
    if cu_seqlens is None:
        d_x.scatter_add_(2, at.unsqueeze(1).expand_as(grad), grad)
    else:
        flat = grad.permute(1, 0, 2).reshape(1, d_x.shape[1], -1)
        d_x.scatter_add_(2, at.reshape(1, 1, -1).expand_as(flat), flat)


def state_gradient(
    g: Tensor, weight: Tensor, grad_final: Tensor, cu_seqlens: Tensor | None
) -> Tensor:
    """Gradient of the initial states, (S, D, W - 1) float32.

    g: (B, D, L), the gradient before the activation.
    """
    size = grad_final.shape[2]
    d_state = torch.zeros(grad_final.shape, dtype=torch.float32, device=g.device)
    if d_state.numel() == 0:
        return d_state
    starts, lengths = _starts_and_lengths(g, cu_seqlens)
    slots = torch.arange(size, device=g.device)
    if g.shape[2]:
        for w in range(size):  # tap w of step t reads slot t + w
            t = (slots - w).expand(len(starts), -1)
            valid = (t >= 0) & (t < lengths[:, None])
            grad = _gather(g, (starts[:, None] + t).clamp(0, g.shape[2] - 1), cu_seqlens)
            d_state += torch.where(valid.unsqueeze(1), grad * weight.float()[:, w, None], 0)
    source = slots - lengths[:, None]  # part of a short sequence's state is in its final state
    from_final = grad_final.float().gather(
        2, source.clamp(min=0).unsqueeze(1).expand(-1, g.shape[1], -1)
    )
    return d_state + torch.where((source >= 0).unsqueeze(1), from_final, 0)
