"""egru_scan for a sequence or two on the CPU: all steps in one call, and only rows of R that fired.

With so few vectors the recurrent product is bound by reading R, and a dense product reads all of
it at every step. Dimensions as in reference.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cpu.compiled import compiled
from ...cpu.scalar_math import FAST
from ..event_matmul.cpu import event_product
from .cpu_passes import forward_pass

MOST_SEQUENCES = 2


@compiled(fastmath=FAST)
def event_steps(
    recurrent_kernel: Any, batch_sizes: Any, y0: Any, save: bool,
    gates_x: Any, product: Any, bias: Any, threshold: Any, h: Any, keep: Any, keep_rate: Any,
    gates: Any, candidate: Any, y: Any, c: Any,
) -> None:  # fmt: skip
    """All steps; the arrays are those of the pointwise pass, h is advanced in place."""
    units = threshold.shape[0]
    rows, coefficients = np.empty(units, np.int64), np.empty(units, np.float32)
    before, first = -1, 0
    for t in range(batch_sizes.shape[0]):
        size = batch_sizes[t]
        for b in range(size):
            source = y0[b] if before < 0 else y[before + b]
            event_product(product[b], source, recurrent_kernel, rows, coefficients)
        forward_pass(
            gates_x, product, bias, threshold, h, keep, keep_rate, gates, candidate, y, c,
            first, size, first if save else 0,
        )  # fmt: skip
        before = first
        first += size
