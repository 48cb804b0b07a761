"""Padding taken out before the recurrent layers and put back after them.

Real tokens are laid end to end, so that padding on any side leaves no trace in the state.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def real_tokens(attention_mask, batch, steps):
    """A (B, T) mask of real tokens and where each sequence of them ends; None without padding."""
    if attention_mask is None:
        return None, None
    shape = tuple(attention_mask.shape)
    if len(shape) != 2 or shape[0] != batch or shape[1] < steps:
        raise ValueError(f"attention_mask must have shape ({batch}, {steps} or more), got {shape}")
    real = attention_mask[:, attention_mask.shape[1] - steps :] != 0
    if bool(real.all()):
        return None, None
    return real, F.pad(real.sum(1).cumsum(0), (1, 0))


def mask_of_ids(input_ids, pad_token_id):
    """Mask of token ids (B, T) without the padding at the start and the end of each row.

    A pad token between others is text, and so is the first token of a row of pad tokens alone.
    """
    text = input_ids != pad_token_id
    text = text | (text.any(1, keepdim=True).logical_not() & _first_column(text))
    return (text.cumsum(1) > 0) & (text.flip(1).cumsum(1).flip(1) > 0)


def _first_column(mask):
    return torch.arange(mask.shape[1], device=mask.device) == 0


def scatter_rows(x, real, batch, steps):
    """(1, N, F) rows of real tokens -> (B, T, F) with zeros at the padding."""
    if real is None:
        return x
    full = x.new_zeros(batch, steps, x.shape[-1])
    full[real] = x[0]
    return full


__all__ = ["mask_of_ids", "real_tokens", "scatter_rows"]
