"""Serialization: orders along axes, backward differences, sequences of views."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenfall_stream.nn.serialization import end_to_end, serialize

POS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0], [5.0, 3.0], [4.0, 3.0]])
BATCH = torch.tensor([0, 0, 0, 2, 2])  # graph 1 is empty


def test_orders_steps_and_segments() -> None:
    order = serialize(POS, BATCH)
    assert order.order.tolist() == [2, 1, 0, 4, 3, 0, 2, 1, 4, 3]
    assert order.step.tolist() == [0, 0, 1, 0, 1, 0, 1, 1, 0, 0]
    assert order.cu_seqlens.tolist() == [0, 3, 3, 5, 8, 8, 10]
    assert order.inverse.tolist() == [[2, 1, 0, 4, 3], [5, 7, 6, 9, 8]]


def test_both_directions_and_a_single_view() -> None:
    order = serialize(POS, BATCH, [0], bidirectional=True)
    assert order.order.tolist() == [2, 1, 0, 4, 3, 3, 4, 0, 1, 2]
    assert order.step.tolist() == [0, 0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert order.cu_seqlens.tolist() == [0, 3, 3, 5, 7, 7, 10]
    backward = order.view(1)
    assert backward.order.tolist() == [3, 4, 0, 1, 2]
    assert (backward.cu_seqlens.tolist(), backward.views) == ([0, 2, 2, 5], 1)


@given(st.integers(0, 2**31), st.integers(0, 30), st.integers(1, 3), st.booleans())
@settings(max_examples=30, deadline=None)
def test_restoring_undoes_arranging(seed: int, points: int, dims: int, both: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randint(0, 3, (points, dims), generator=generator).float()
    batch = torch.randint(0, 4, (points,), generator=generator).sort().values
    order = serialize(pos, batch, bidirectional=both)
    assert order.step.ge(0).all()
    assert order.cu_seqlens[-1] == order.order.numel() == order.views * points
    x = torch.rand(points, 2, generator=generator)
    restored = order.restore(order.arrange(x))
    assert torch.equal(restored, x[:, None].expand(-1, order.views, -1))


def test_the_order_given_matters_only_where_points_coincide() -> None:
    pos = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, 1.0], [-0.0, 0.5]])
    shuffled = torch.tensor([3, 0, 2, 1])
    first, second = serialize(pos), serialize(pos[shuffled])
    assert torch.equal(pos[first.order], pos[shuffled][second.order])
    assert first.order.tolist() == [1, 3, 0, 2, 1, 3, 0, 2]


def test_presorted_points_stay() -> None:
    time = torch.tensor([[0.0], [2.0], [2.0], [1.0]])
    order = serialize(time, torch.tensor([0, 0, 0, 1]), presorted=True)
    assert order.is_input_order
    assert order.step.tolist() == [0, 2, 0, 0]
    x = torch.rand(4, 2)
    assert order.arrange(x) is x
    assert torch.equal(order.restore(x)[:, 0], x)
    with pytest.raises(ValueError, match=r"axis 0 .* point 3 is 1 below the previous one"):
        serialize(time, presorted=True)


@pytest.mark.parametrize(("joined", "ends"), [(True, [0, 6, 6, 10]), (False, None)])
def test_end_to_end(joined: bool, ends: list[int] | None) -> None:
    rows, sequence = end_to_end(serialize(POS, BATCH), joined)
    assert rows.tolist() == [2, 1, 0, 0, 2, 1, 4, 3, 4, 3]
    assert sequence.step.tolist() == [0, 0, 1, 0, 1, 1, 0, 1, 0, 0]
    assert sequence.cu_seqlens.tolist() == (ends or [0, 3, 6, 6, 6, 8, 10])
    assert sequence.is_input_order


def test_steps_have_gradients() -> None:
    pos = POS[:3].clone().requires_grad_()
    serialize(pos, axes=[1]).step.sum().backward()  # the extent along the axis
    assert pos.grad.tolist() == [[0, -1], [0, 1], [0, 0]]


def test_no_points() -> None:
    for batch in (None, torch.zeros(0, dtype=torch.long)):
        order = serialize(torch.zeros(0, 2), batch)
        assert order.order.numel() == order.step.numel() == int(order.cu_seqlens[-1]) == 0


@pytest.mark.parametrize("axes", [[2], [-1], []])
def test_axes_that_pos_has_not(axes: list[int]) -> None:
    with pytest.raises(ValueError, match="axes must be columns of pos, 0 to 1, got"):
        serialize(POS, axes=axes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_positions_that_are_not_finite(value: float) -> None:
    pos = POS.clone()
    pos[3, 1] = value
    with pytest.raises(ValueError, match=r"pos must be finite, got \[5.0, .*\] at point 3"):
        serialize(pos)
