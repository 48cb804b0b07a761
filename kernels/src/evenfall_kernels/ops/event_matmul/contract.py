"""What a backend of event_matmul must offer, and a tiny call. N rows, I units, O outputs."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import compress_blocks, compress_rows, event_matmul


class EventMatmulBackend(Protocol):
    """A module with these functions. Tensors are checked and on one device; autograd needs
    nothing else, because the gradients are dense products."""

    def forward(self, events: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
        """events (N, I), weight (I, O), scale (I,) -> (N, O) in the dtype of events. Weights are
        float32, bfloat16, float16 or int8, float64 with float64 events."""

    def forward_rows(
        self, events: Tensor, values: Tensor, columns: Tensor, row_starts: Tensor,
        scale: Tensor | None, n_out: int,
    ) -> Tensor:  # fmt: skip
        """The same for a compressed matrix of n_out columns: values (nnz,) and their columns, or
        blocks (n, width) and their first columns, whose sum counts where they overlap; row i has
        the entries row_starts[i] to row_starts[i + 1]."""


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Three rows with a dense matrix, with compressed rows, and with blocks, some of which
    overlap."""
    events, weight = draw(device, dtype, (3, 5), (5, 7))
    events, weight = events.relu(), weight.relu()
    with torch.no_grad():
        return (
            event_matmul(events, weight),
            event_matmul(events, compress_rows(weight)),
            event_matmul(events, compress_blocks(weight, 4)),
        )


OPERATION = Operation(EventMatmulBackend, example)
