"""The operation counter of Mamba's mixers, for `evenfall.counting`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from evenfall.counting import Counter, Matrix, Operations, multiply, multiply_unseen

_LAYERS = {"in_proj": nn.Linear, "conv1d": nn.Conv1d, "x_proj": nn.Linear, "dt_proj": nn.Linear,
           "out_proj": nn.Linear}  # fmt: skip


def _matrices(module: Any) -> tuple[Matrix, ...]:
    return (
        Matrix("in_proj.weight", 1, gates=2),  # x and its gate
        Matrix("conv1d.weight", 1, "output"),
        Matrix("x_proj.weight", 1, "output"),
        Matrix("dt_proj.weight", 1, "output"),
        Matrix("out_proj.weight", 1, "output"),
    )


def _count(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The input of in_proj is visible. All others come out of a silu and count as not zero. The
    scan multiplies states, not weights."""
    for name, kind in _LAYERS.items():
        layer = getattr(module, name)
        if type(layer) is not kind:
            raise ValueError(
                f"model: cannot count {type(module).__name__}: its {name} is a "
                f"{type(layer).__name__}, such as an adapter; merge it first"
            )
    x = inputs["hidden_states"]
    rows = x.shape[:-1].numel()
    total = multiply(x, module.in_proj.weight, 1)
    for matrix in _matrices(module)[1:]:
        total += multiply_unseen(rows, matrix.of(module))
    return total


MIXER = Counter(_matrices, _count)
"""The mixers of Mamba, FalconMamba and Jamba, and the one with coordinates."""
