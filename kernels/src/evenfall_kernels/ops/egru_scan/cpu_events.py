"""egru_scan on the CPU for one or two sequences: all steps in one call, event-driven.

With so few vectors, reading R takes most of the time, and a dense product reads all of R at every
step. Here a step reads only the rows of units that fired. Dimensions as in reference.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cpu.compiled import compiled
from ...cpu.scalar_math import FAST
from ..event_matmul.loops import multiply_fired
from .cpu_passes import forward_pass

MAX_SEQUENCES = 2


@compiled(fastmath=FAST)
def event_steps(
    matrix: Any, batch_sizes: Any, y0: Any, save: bool,
    gates_x: Any, product: Any, bias: Any, threshold: Any, h: Any, keep: Any, keep_rate: Any,
    gates: Any, candidate: Any, y: Any, c: Any,
) -> None:  # fmt: skip
    """Run all steps; matrix is R in a storage format of event_matmul, the other arrays are those of
    forward_pass, h is updated in place."""
    units = threshold.shape[0]
    rows, coefficients = np.empty(units, np.int64), np.empty(units, np.float32)
    previous, first = -1, 0
    for t in range(batch_sizes.shape[0]):
        size = batch_sizes[t]
        for b in range(size):
            source = y0[b] if previous < 0 else y[previous + b]
            multiply_fired(product[b], source, matrix, rows, coefficients)
        forward_pass(
            gates_x, product, bias, threshold, h, keep, keep_rate, gates, candidate, y, c,
            first, size, first if save else 0,
        )  # fmt: skip
        previous = first
        first += size
