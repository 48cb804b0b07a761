"""Place: chips and processing elements for the slices, layers next to each other."""

from __future__ import annotations

from dataclasses import dataclass

from evenfall.errors import shorten

from .partition import Slice


@dataclass(frozen=True)
class Placed:
    """A slice on a processing element: chip (x, y) and number on the chip."""

    slice: Slice
    chip: tuple[int, int]
    pe: int


def board_chips(board: str) -> tuple[tuple[int, int], ...]:
    """The chips of a board along a path on which neighbours in the list are neighbours on the
    board. "48" has the outline of SpiNNaker's 48-chip board: a hexagon in an 8 x 8 square. "NxM" is
    a rectangle of chips, for extrapolation.

    Raises:
        ValueError: no such board.
    """
    if board == "1":
        return ((0, 0),)
    if board == "48":
        rows = [(max(0, y - 3), min(7, y + 4)) for y in range(8)]
    else:
        width, _, height = board.partition("x") if isinstance(board, str) else ("", "", "")
        if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) <= 65536):
            raise ValueError(f"board: got {shorten(board)}, want '1', '48', or chips as '4x3'")
        rows = [(0, int(width) - 1)] * int(height)
    found = []
    for y, (left, right) in enumerate(rows):
        path = range(left, right + 1) if y % 2 == 0 else range(right, left - 1, -1)
        found += [(x, y) for x in path]
    return tuple(found)


def place(slices: list[Slice], chips: tuple[tuple[int, int], ...], usable_pes: int) -> list[Placed]:
    """Put the slices in their order on the processing elements along the paths over chip and board.

    Raises:
        ValueError: there are more slices than processing elements.
    """
    have = usable_pes * len(chips)
    if len(slices) > have:
        raise ValueError(f"needs {len(slices)} processing elements, the board has {have}")
    return [
        Placed(one, chips[number // usable_pes], number % usable_pes)
        for number, one in enumerate(slices)
    ]
