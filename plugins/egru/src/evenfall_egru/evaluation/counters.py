"""Operation counters of EGRU's modules, for `evenfall.counting`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenfall.counting import Counter, Matrix, Operations, multiply, multiply_states


def _layer(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The input matrix reads x, the recurrent matrix the outputs of the previous step."""
    y, (last, _), _ = output
    state = inputs.get("state")
    recurrent = multiply_states(
        y, None if state is None else state[0], last, module.recurrent_kernel, 0
    )
    return multiply(inputs["x"], module.kernel, 0) + recurrent


EGRU_LAYER = Counter(
    lambda module: (
        Matrix("kernel", 0, gates=3),
        Matrix("recurrent_kernel", 0, "recurrent", gates=3),
    ),
    _layer,
)
"""EgruLayer: W (inputs, 3 units) and R (units, 3 units)."""


def _decoder(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    return multiply(inputs["y"], module.weight, 1)


EGRU_DECODER = Counter(lambda module: (Matrix("weight", 1),), _decoder)
"""EgruDecoder: W (vocabulary, embedding)."""
