"""The number of selected scores is exact, whatever the ties."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from evenfall_sparsity.pruning.selection import count_of, select_smallest


@pytest.mark.parametrize("count", [0, 1, 7, 12, 29, 30])
@pytest.mark.parametrize("kinds", [1, 2, 5, 1000])
def test_exactly_the_smallest_are_selected(count: int, kinds: int) -> None:
    generator = torch.Generator().manual_seed(count + kinds)
    shapes = [(2, 5), (4, 3), (8,)]
    scores = [torch.randint(kinds, shape, generator=generator).double() for shape in shapes]
    masks = select_smallest(scores, count)
    assert [tuple(mask.shape) for mask in masks] == shapes
    flat = torch.cat([one.flatten() for one in scores])
    chosen = torch.cat([mask.flatten() for mask in masks])
    # A stable sort takes the first of equal scores.
    want = flat.sort(stable=True).indices[:count]
    assert sorted(chosen.nonzero().flatten().tolist()) == sorted(want.tolist())


def test_counts_are_rounded_to_the_nearest() -> None:
    assert [count_of(0.9, 10), count_of(0.9, 11), count_of(1 / 3, 10)] == [9, 10, 3]
    assert [count_of(0.0, 7), count_of(1.0, 7)] == [0, 7]


def test_scores_of_a_transposed_weight_are_selected() -> None:
    scores = torch.ones(3, 4).t()
    assert select_smallest([scores], 5)[0].flatten().tolist() == [True] * 5 + [False] * 7


def test_nan_is_an_error() -> None:
    with pytest.raises(ValueError, match="scores must not be NaN"):
        select_smallest([torch.tensor([1.0, float("nan"), 0.0])], 1)
