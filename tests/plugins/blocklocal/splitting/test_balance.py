"""The chosen cuts against all choices."""

from __future__ import annotations

import itertools
import random

import pytest

pytest.importorskip("torch")

from evenfall_blocklocal.splitting.balance import choose_cuts


def test_the_highest_cost_is_near_the_lowest_and_the_blocks_are_even() -> None:
    draw = random.Random(0)
    for _ in range(40):
        costs = [draw.randint(0, 9) for _ in range(draw.randint(3, 8))]
        reached = list(itertools.accumulate(costs))
        total = reached.pop()
        blocks = draw.randint(1, len(reached) + 1)
        found = choose_cuts(reached, total, blocks)
        every = [
            _costs(reached, total, cuts)
            for cuts in itertools.combinations(range(len(reached)), blocks - 1)
        ]
        most = 1.05 * min(map(max, every))
        least = min(sum(c**2 for c in costs) for costs in every if max(costs) <= most)
        assert found == sorted(set(found))
        costs = _costs(reached, total, found)
        assert len(costs) == blocks
        assert max(costs) <= most
        assert sum(c**2 for c in costs) == least


def test_a_small_classifier_has_no_block_of_its_own() -> None:
    """The parameters of a ResNet-18, in thousands: its last stage decides the highest cost."""
    costs = [157, 526, 2100, 3673, 4721, 5]
    reached = list(itertools.accumulate(costs))
    assert choose_cuts(reached[:-1], reached[-1], 4) == [1, 2, 3]


def _costs(reached: list[int], total: int, cuts) -> list[int]:
    ends = [0, *(reached[cut] for cut in cuts), total]
    return [after - before for before, after in itertools.pairwise(ends)]
