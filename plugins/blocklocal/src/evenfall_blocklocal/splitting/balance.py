"""Choose cuts so that the most expensive block is cheap and the blocks are even."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

_SLACK = 1.05


def choose_cuts(reached: Sequence[float], total: float, blocks: int) -> list[int]:
    """Indices of the blocks - 1 cuts with the least sum of squared costs, of those whose most
    expensive block costs at most 5 % more than the least possible.

    Without the 5 %, a layer that no cut divides decides alone: in a ResNet, it would be worth a
    block of its own for the classifier to take a thousandth off the last stage.

    Args:
        reached: the cost up to each possible cut, not decreasing.
        total: the cost of the model.
        blocks: their number, at most len(reached) + 1.
    """
    ends = (*reached, total)

    @cache
    def highest(end: int, left: int) -> float:
        """The least possible highest cost of `left` blocks that end at cut `end`."""
        if left == 1:
            return ends[end]
        return min(
            max(highest(before, left - 1), ends[end] - ends[before])
            for before in range(left - 2, end)
        )

    most = _SLACK * highest(len(reached), blocks)

    @cache
    def evenest(end: int, left: int) -> tuple[float, tuple[int, ...]]:
        """The least sum of squares of such blocks of at most that cost, and the cuts before."""
        if left == 1:
            return (ends[end] ** 2 if ends[end] <= most else float("inf")), ()
        options = []
        for before in range(left - 2, end):
            squares, cuts = evenest(before, left - 1)
            cost = ends[end] - ends[before]
            squares = squares + cost**2 if cost <= most else float("inf")
            options.append((squares, (*cuts, before)))
        return min(options)

    return list(evenest(len(reached), blocks)[1])
