"""The chosen cuts against all choices."""

from __future__ import annotations

import itertools
import random

import pytest

pytest.importorskip("torch")

from evenfall_blocklocal.splitting.balance import choose_cuts


def test_the_highest_cost_is_the_lowest_possible() -> None:
    draw = random.Random(0)
    for _ in range(40):
        costs = [draw.randint(0, 9) for _ in range(draw.randint(3, 8))]
        reached = list(itertools.accumulate(costs))
        total = reached.pop()
        blocks = draw.randint(1, len(reached) + 1)
        found = choose_cuts(reached, total, blocks)
        best = min(
            _highest(reached, total, cuts)
            for cuts in itertools.combinations(range(len(reached)), blocks - 1)
        )
        assert len(found) == blocks - 1
        assert found == sorted(set(found))
        assert _highest(reached, total, found) == best


def _highest(reached: list[int], total: int, cuts) -> int:
    ends = [0, *(reached[cut] for cut in cuts), total]
    return max(after - before for before, after in itertools.pairwise(ends))
