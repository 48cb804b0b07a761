"""Choose cuts so that the most expensive block is as cheap as possible."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache


def choose_cuts(reached: Sequence[float], total: float, blocks: int) -> list[int]:
    """Indices of the blocks - 1 cuts that minimise the highest cost of a block; among those, the
    sum of squares.

    Args:
        reached: the cost up to each possible cut, not decreasing.
        total: the cost of the model.
        blocks: their number, at most len(reached) + 1.
    """

    @cache
    def best(end: int, left: int) -> tuple[float, float, tuple[int, ...]]:
        """Of `left` blocks that end at cut `end`: highest cost, sum of squares, earlier cuts."""
        upto = total if end == len(reached) else reached[end]
        if left == 1:
            return upto, upto**2, ()
        options = []
        for before in range(left - 2, end):
            cost = upto - reached[before]
            highest, squares, cuts = best(before, left - 1)
            options.append((max(highest, cost), squares + cost**2, (*cuts, before)))
        return min(options)

    return list(best(len(reached), blocks)[2])
