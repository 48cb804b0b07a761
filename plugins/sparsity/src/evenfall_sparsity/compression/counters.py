"""Operation counter of a compressed layer, for `evenfall.counting`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenfall.counting import Counter, Matrix, Operations, multiply

_WEIGHT = Matrix("weight", 0)


def _linear(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    return multiply(inputs["input"], _WEIGHT.of(module), 0)


COMPRESSED_LINEAR = Counter(lambda module: (_WEIGHT,), _linear)
"""CompressedLinear: W (inputs, outputs)."""
