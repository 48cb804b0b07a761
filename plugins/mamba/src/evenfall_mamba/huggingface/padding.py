"""Keeps padding out of the state of its row.

The mixers of transformers set padding to zero. On the left of a first call that is enough. On the
right, or between two parts of a text, the convolution would store these zeros as the last inputs,
and the state would decay. So the convolution takes the tokens of a row without gaps, and the scan
takes a step of 0 at padding.

B rows   D channels   L steps   K inputs in a state   real (B, L) bool, false for padding
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_STEP = -1e4
"""A step before softplus, which makes it 0."""


def real_tokens(mask: Tensor | None, length: int) -> Tensor | None:
    """`real` of the last `length` steps of an attention mask (B, steps), None without padding.

    The values are read on the CPU only: elsewhere that would wait for the device.
    """
    if mask is None or mask.dim() != 2:
        return None
    real = mask[:, -length:] != 0
    readable = real.device.type == "cpu" and not torch.compiler.is_compiling()
    return None if readable and bool(real.all()) else real


def close_gaps(real: Tensor, signal: Tensor) -> Tensor:
    """(B, D, L) -> (B, D, L): the tokens of each row in order, then zeros."""
    order = (~real).to(torch.int8).argsort(dim=1, stable=True)
    masked = signal.masked_fill(~real[:, None], 0)
    return masked.gather(2, order[:, None].expand_as(signal))


def open_gaps(real: Tensor, signal: Tensor) -> Tensor:
    """The reverse of `close_gaps`; any value at padding."""
    place = (real.cumsum(1) - 1).clamp(min=0)
    return signal.gather(2, place[:, None].expand_as(signal))


def last_inputs(real: Tensor, inputs: Tensor, capacity: int) -> Tensor:
    """The last K = `capacity` inputs before the zeros, (B, D, K).

    `inputs` (B, D, K + L) are the K inputs of earlier calls and a signal without gaps.
    """
    steps = torch.arange(capacity, device=real.device)
    index = real.sum(1, keepdim=True) + steps
    return inputs.gather(2, index[:, None].expand(-1, inputs.shape[1], -1))


def keep_rows(real: Tensor, state: Tensor, before: Tensor) -> None:
    """Give the rows (B, ...) of `state` whose only step is padding their values of `before`."""
    state.copy_(torch.where(real.view(-1, *[1] * (state.dim() - 1)), state, before))
