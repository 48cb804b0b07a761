"""The exact number of operations of a product of inputs and a weight."""

from __future__ import annotations

from typing import Any

from .statements import Operations


def multiply(x: Any, weight: Any, input_axis: int) -> Operations:
    """The operations of x times a weight.

    Args:
        x: (..., I) tensor; each row is multiplied.
        weight: tensor whose axis `input_axis` has length I.
        input_axis: the axis of the inputs.
    """
    rows = x.reshape(-1, x.shape[-1])  # (N, I)
    return operations(len(rows), (rows != 0).sum(0), weight, input_axis, is_ternary(x))


def multiply_states(y: Any, first: Any | None, last: Any, weight: Any, axis: int) -> Operations:
    """The operations of a recurrent weight, which multiplies every state except the last.

    Args:
        y: (..., H) the states of all steps and sequences.
        first: (..., H) the states before the first step; None means zeros.
        last: (..., H) the states after the last step; y contains them, too.
        weight: tensor whose axis `axis` has length H.
        axis: the axis of the inputs.
    """
    rows, ends = y.reshape(-1, y.shape[-1]), last.reshape(-1, y.shape[-1])  # (N, H), (S, H)
    used = (rows != 0).sum(0) - (ends != 0).sum(0)
    ternary = is_ternary(y)
    if first is not None:
        used = used + (first.reshape(-1, y.shape[-1]) != 0).sum(0)
        ternary = ternary and is_ternary(first)
    return operations(len(rows), used, weight, axis, ternary)


def operations(rows: int, used: Any, weight: Any, input_axis: int, ternary: bool) -> Operations:
    """The operations of `rows` products; `used` (I,) says in how many each input is not zero."""
    nonzero = (weight != 0).movedim(input_axis, 0).reshape(len(used), -1).sum(1)  # (I,)
    effective = int((used * nonzero).sum())
    dense = rows * weight.numel()
    return Operations(dense, 0, effective) if ternary else Operations(dense, effective, 0)


def is_ternary(x: Any) -> bool:
    """Whether every number is -1, 0 or 1, so that products need no multiplication."""
    return bool(((x == 0) | (x == 1) | (x == -1)).all())
