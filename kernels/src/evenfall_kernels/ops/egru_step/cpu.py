"""egru_step on the CPU: one compiled call a token; a large decoder is split over threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...cpu.compiled import require_compiler
from ...cpu.threads import run_split
from .cpu_loops import decode
from .cpu_loops import step as run

if TYPE_CHECKING:
    from .stack import EgruStack

require_compiler()

State = tuple[Tensor, Tensor]

_BYTES_PER_THREAD = 8_000_000


def step(stack: EgruStack, ids: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
    """Backend interface, see reference.step."""
    table, tokens, new = stack.table, ids.tolist(), []
    batch, vocabulary = len(tokens), stack.vocabulary
    for token in tokens:
        if not 0 <= token < vocabulary:
            raise IndexError(f"egru_step: ids must be in [0, {vocabulary}), got {token}")
    out = None
    if stack.decoder is not None:
        out = states[0][0].new_empty((batch, stack.decoder.shape[1]))
    numbers = [batch, 0 if out is None else out.data_ptr(), *tokens]
    for y, h in states:
        y_new, h_new = torch.empty_like(y), torch.empty_like(h)
        numbers += y.data_ptr(), h.data_ptr(), y_new.data_ptr(), h_new.data_ptr()
        new.append((y_new, h_new))
    call = np.array(numbers, np.int64)
    at_once = torch.get_num_threads() == 1 or not stack.decoder_can_be_split
    fired = run(table, call, stack.words_are_columns, out is not None and at_once)
    if out is None:
        out = new[-1][0]
    elif not at_once:

        def fill(start: int, stop: int) -> None:
            decode(table, call, start, stop)

        run_split(fill, out.shape[1], fired * stack.decoder_row_bytes, _BYTES_PER_THREAD)
    dtype = stack.dtype
    return out if out.dtype == dtype else out.to(dtype), new
