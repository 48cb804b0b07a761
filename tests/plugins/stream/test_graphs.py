"""Graphs: a batch vector is read once, together with all checks of a call."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evenfall_stream import graphs as module
from evenfall_stream.graphs import Graphs, flat_points, read_graphs, starts_of

POS = torch.tensor([[0.0, 3.0], [1.0, 2.0], [0.5, 1.0], [2.0, 0.0]])


def as_lists(graphs: Graphs) -> tuple[list[int], list[int], list[int]]:
    for part in dataclasses.astuple(graphs)[:3]:
        assert part.dtype == torch.int64
        assert part.is_contiguous()
    assert graphs.count == len(graphs.sizes) == len(graphs.ptr) - 1
    return graphs.batch.tolist(), graphs.sizes.tolist(), graphs.ptr.tolist()


def test_one_graph() -> None:
    assert as_lists(read_graphs(POS)) == ([0] * 4, [4], [0, 4])
    assert as_lists(read_graphs(POS, None, 3)) == ([0] * 4, [4, 0, 0], [0, 4, 4, 4])
    assert as_lists(read_graphs(POS[:0])) == ([], [0], [0, 0])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_several_graphs(dtype: torch.dtype) -> None:
    batch = torch.tensor([0, 0, 2, 2], dtype=dtype)
    assert as_lists(read_graphs(POS, batch)) == ([0, 0, 2, 2], [2, 0, 2], [0, 2, 2, 4])
    assert as_lists(read_graphs(POS, batch, 4))[1:] == ([2, 0, 2, 0], [0, 2, 2, 4, 4])
    every_other = batch.repeat_interleave(2)[::2]
    assert as_lists(read_graphs(POS, every_other)) == as_lists(read_graphs(POS, batch))
    assert as_lists(read_graphs(POS[:0], batch[:0])) == ([], [], [0])
    assert as_lists(read_graphs(POS[:0], batch[:0], 2)) == ([], [0, 0], [0, 0, 0])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 6), st.booleans())
def test_reading_ahead_gives_the_same(sizes: list[int], ahead: int, told: bool) -> None:
    """What runs on a GPU, on the CPU; with fewer graphs than are read ahead, and with more."""
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if not len(batch):
        return
    pos, batch_size = torch.zeros(len(batch), 2), len(sizes) if told else None
    expected = as_lists(read_graphs(pos, batch, batch_size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ_AHEAD", ahead)
        patch.setattr(module, "_read", module._read_ahead)
        assert as_lists(read_graphs(pos, batch, batch_size)) == expected


def test_parts_of_graphs() -> None:
    graphs = read_graphs(POS, torch.tensor([0, 0, 0, 2]))
    assert as_lists(graphs.pad_to(5))[1:] == ([3, 0, 1, 0, 0], [0, 3, 3, 4, 4, 4])
    assert graphs.pad_to(3) is graphs
    some = graphs.at_most(2, torch.tensor([2, 0, 3]))
    assert as_lists(some) == ([0, 0, 2], [2, 0, 1], [0, 2, 2, 3])
    twice = graphs.repeat(2, torch.tensor([0, 1, 2, 2, 1, 0, 3, 3]))
    assert as_lists(twice) == ([0] * 6 + [2] * 2, [6, 0, 2], [0, 6, 6, 8])
    assert starts_of(torch.tensor([2, 0, 1])).tolist() == [0, 2, 2, 3]


def test_points_of_other_shapes() -> None:
    assert flat_points(POS[:, 0]).tolist() == [[0.0], [1.0], [0.5], [2.0]]
    assert flat_points(POS.reshape(2, 2, 2)).tolist() == POS.reshape(2, 4).tolist()
    assert flat_points(torch.empty(0, 3)).shape == (0, 1)
    assert not flat_points(POS.clone().requires_grad_()).requires_grad


def changed(row: int, value: float) -> Tensor:
    pos = POS.clone()
    pos[row, 1] = value
    return pos


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"pos": changed(1, torch.nan)}, ValueError, r"pos must be finite, got \[1.0, nan\] at po"),
        ({"pos": changed(2, torch.inf)}, ValueError, r"finite, got \[0.5, inf\] at point 2"),
        ({"batch": torch.zeros(4)}, TypeError, "batch must be an integer tensor, got torch.float"),
        ({"batch": torch.zeros(4).bool()}, TypeError, "integer tensor, got torch.bool"),
        ({"batch": torch.zeros(4).cfloat()}, TypeError, "integer tensor, got torch.complex64"),
        ({"batch": [0, 0, 1, 1]}, TypeError, "batch must be an integer tensor, got list"),
        ({"batch": torch.zeros(3).long()}, ValueError, r"shape \(points,\) = \(4,\), got \(3,\)"),
        ({"batch": torch.zeros(4).long().to("meta")}, ValueError, "on meta, but pos is on cpu"),
        ({"batch": torch.tensor([0, 1, 0, 1])}, ValueError, "sorted, got 0 after 1 at point 2"),
        ({"batch": torch.tensor([-1, 0, 0, 1])}, ValueError, "must not be negative, got -1"),
        ({"batch": torch.tensor([0, 0, 1, 5]), "batch_size": 4}, ValueError, "at least 6, the num"),
        (
            {"batch_size": 0},
            ValueError,
            "batch_size must be at least 1, .* batch, got 0",
        ),
        ({"sorted_axes": (0,)}, ValueError, "along axis 0 .* point 2 is 0.5 below the previous"),
        ({"sorted_axes": (1,)}, ValueError, "along axis 1 .* point 1 is 1 below the previous"),
        ({"names": ("x", "batch_x"), "batch": torch.tensor([1, 0, 0, 0])}, ValueError, "batch_x"),
    ],
)
@pytest.mark.parametrize("ahead", [False, True])
def test_refusals(
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: type[Exception],
    words: str,
    ahead: bool,
) -> None:
    if ahead:
        monkeypatch.setattr(module, "_read", module._read_ahead)
    with pytest.raises(error, match=words):
        read_graphs(**{"pos": POS, **arguments})


def test_order_is_asked_for_within_a_graph_only() -> None:
    batch = torch.tensor([0, 0, 1, 1])
    assert read_graphs(POS, batch, sorted_axes=(0,)).count == 2
    with pytest.raises(ValueError, match=r"axis 0 .* point 2"):
        read_graphs(POS, torch.tensor([0, 0, 0, 1]), sorted_axes=(0,))
