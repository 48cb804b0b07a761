"""The exact number of operations of a product of inputs and a weight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .statements import Operations


@dataclass(frozen=True, slots=True)
class Product:
    """What multiplied a weight during a call.

    Attributes:
        weight: the tensor, or the part of it that was multiplied.
        rows: the number of input vectors.
        active: (I,) in how many rows each input is not zero; None if the input is not visible and
            counts as not zero.
        squares: (I,) the sum of squares of each input over the rows, in float64, or None.
        operations: of these rows.
    """

    weight: Any = field(repr=False, compare=False)
    rows: int
    active: Any = field(repr=False, compare=False)
    squares: Any = field(repr=False, compare=False)
    operations: Operations

    def __add__(self, other: Product) -> Product:
        seen = self.active is not None and other.active is not None
        return Product(
            self.weight,
            self.rows + other.rows,
            self.active + other.active if seen else None,
            self.squares + other.squares if seen else None,
            self.operations + other.operations,
        )


_RECORD: ContextVar[list[Product] | None] = ContextVar("products", default=None)


@contextmanager
def record_products() -> Iterator[list[Product]]:
    """In the block, the functions of this module also append to the list that this yields."""
    found: list[Product] = []
    token = _RECORD.set(found)
    try:
        yield found
    finally:
        _RECORD.reset(token)


def multiply(x: Any, weight: Any, input_axis: int) -> Operations:
    """The operations of x times a weight.

    Args:
        x: (..., I) tensor; each row is multiplied.
        weight: tensor whose axis `input_axis` has length I.
        input_axis: the axis of the inputs.
    """
    rows = x.reshape(-1, x.shape[-1])  # (N, I)
    used = (rows != 0).sum(0)
    result = operations(len(rows), used, weight, input_axis, is_ternary(x))
    if _RECORD.get() is not None:
        record_product(Product(weight, len(rows), used, _squares(rows), result))
    return result


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
        first = first.reshape(-1, y.shape[-1])
        used = used + (first != 0).sum(0)
        ternary = ternary and is_ternary(first)
    result = operations(len(rows), used, weight, axis, ternary)
    if _RECORD.get() is not None:
        squares = _squares(rows) - _squares(ends)
        squares = squares if first is None else squares + _squares(first)
        record_product(Product(weight, len(rows), used, squares.clamp(min=0), result))
    return result


def multiply_unseen(rows: int, weight: Any) -> Operations:
    """The operations of `rows` products whose input is not visible: it counts as not zero."""
    result = Operations(rows * weight.numel(), rows * int((weight != 0).sum()))
    record_product(Product(weight, rows, None, None, result))
    return result


def operations(rows: int, used: Any, weight: Any, input_axis: int, ternary: bool) -> Operations:
    """The operations of `rows` products; `used` (I,) says in how many each input is not zero."""
    nonzero = (weight != 0).movedim(input_axis, 0).reshape(len(used), -1).sum(1)  # (I,)
    effective = int((used * nonzero).sum())
    dense = rows * weight.numel()
    return Operations(dense, 0, effective) if ternary else Operations(dense, effective, 0)


def is_ternary(x: Any) -> bool:
    """Whether every number is -1, 0 or 1, so that products need no multiplication."""
    return bool(((x == 0) | (x == 1) | (x == -1)).all())


def record_product(product: Product) -> None:
    """Append to the list of `record_products`, if there is one."""
    found = _RECORD.get()
    if found is not None:
        found.append(product)


def _squares(rows: Any) -> Any:
    """(N, I) -> (I,)."""
    return rows.double().square().sum(0)
