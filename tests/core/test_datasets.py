"""Folds of a data set."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from evenfall.datasets import split_fold


def test_each_row_is_held_in_one_fold_and_the_order_depends_on_their_number_alone() -> None:
    parts = [split_fold(11, 3, fold) for fold in range(3)]
    assert sorted(row for _, held in parts for row in held) == list(range(11))
    assert sorted(len(held) for _, held in parts) == [3, 4, 4]
    for others, held in parts:
        assert sorted(others + held) == list(range(11))
    assert parts[0] == split_fold(11, 3, 0)


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (1, 0, "folds must be an integer of 2 to 11, got 1"),
        (12, 0, "folds must be an integer of 2 to 11, got 12"),
        (True, 0, "folds must be an integer"),
        (5, 5, "fold must be an integer of 0 to 4, got 5"),
        (5, None, "fold must be an integer of 0 to 4, got None"),
    ],
)
def test_folds_that_do_not_exist_are_named(folds: Any, fold: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_fold(11, folds, fold)
