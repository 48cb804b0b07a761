"""Pooling of tokens and windows of events."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from evenfall_stream.graphs import Graphs, read_graphs
from evenfall_stream.nn.event_pooling import window_means, windows
from evenfall_stream.nn.pooling import pool, weighted_mean

X = torch.tensor([[1.0, -4.0], [3.0, -2.0], [-5.0, 6.0]])
BATCH = torch.tensor([0, 0, 2])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [[2, -3], [0, 0], [-5, 6]]),
        ("max", [[3, -2], [0, 0], [-5, 6]]),
        ("meanmax", [[2, -3, 3, -2], [0, 0, 0, 0], [-5, 6, -5, 6]]),
    ],
)
def test_pool(how: str, expected: list[list[int]]) -> None:
    assert pool(X, BATCH, 3, how).tolist() == expected
    assert pool(X[:0], BATCH[:0], 2, how).eq(0).all()


def test_weighted_mean() -> None:
    result = weighted_mean(X, torch.tensor([1.0, 3.0, 0.0]), BATCH, 4)
    assert result.tolist() == [[2.5, -2.5], [0, 0], [-5, 6], [0, 0]]


def graphs_of(batch: Tensor, graphs: int) -> Graphs:
    return read_graphs(torch.zeros(len(batch), 1), batch, graphs)


def test_windows_end_with_their_recording() -> None:
    batch = torch.tensor([0] * 5 + [2] * 2 + [3])
    cut = windows(graphs_of(batch, 5), 2)
    assert cut.of_event.tolist() == [0, 0, 1, 1, 2, 3, 3, 4]
    assert cut.last.tolist() == [1, 3, 4, 6, 7]
    assert cut.graphs.batch.tolist() == [0, 0, 0, 2, 3]
    assert cut.graphs.sizes.tolist() == [3, 0, 1, 1, 0]
    assert cut.graphs.ptr.tolist() == [0, 3, 3, 4, 5, 5]
    x = torch.arange(8.0)[:, None]
    assert window_means(x, cut)[:, 0].tolist() == [0.5, 2.5, 4, 5.5, 7]


def test_windows_of_one_event_and_of_none() -> None:
    cut = windows(graphs_of(torch.tensor([0, 0, 1]), 2), 1)
    assert cut.of_event.tolist() == cut.last.tolist() == [0, 1, 2]
    none = windows(graphs_of(torch.zeros(0, dtype=torch.long), 2), 4)
    assert none.last.numel() == none.graphs.batch.numel() == 0
    assert window_means(torch.zeros(0, 3), none).shape == (0, 3)
