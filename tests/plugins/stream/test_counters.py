"""The operations of STREAM's modules, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from torch_geometric.nn import Linear

from evenfall.counting import count_operations, list_matrices
from evenfall_stream import StreamConv
from evenfall_stream.nn.event_embedding import EventEmbedding


@pytest.fixture
def conv() -> Any:
    torch.manual_seed(0)
    return StreamConv(6, 5, axes=(0, 1), d_state=4, d_conv=3, dt_rank=2).eval()


def cloud(points: int) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(1)
    batch = torch.zeros(points, dtype=torch.long)
    batch[points // 2 :] = 1
    return (
        torch.randn(points, 6, generator=generator),
        torch.randn(points, 3, generator=generator),
        batch,
    )


def test_operations_of_a_layer(conv: Any) -> None:
    count = count_operations(conv, *cloud(8))
    assert (count.unknown, count.not_called) == ({}, ())
    points, views, inner = 8, 2, 10
    # A filter of 3 taps: in each sequence the first place lacks 2, the second lacks 1.
    taps = inner * (3 * points * views - 3 * 2 * views)
    rows = points * views
    want = points * 6 * 2 * inner + taps + rows * inner * (2 + 8) + rows * 2 * inner
    want += points * inner * 5
    assert count.total.dense_macs == count.total.effective_macs == want


def test_zeros_of_inputs_and_weights_are_skipped(conv: Any) -> None:
    x, pos, batch = cloud(8)
    x[:, 0] = 0
    with torch.no_grad():
        conv.in_proj.weight[:4] = 0
        conv.views[0].conv1d.weight[:5] = 0
        conv.views[0].conv1d.bias[:5] = 0
    count = count_operations(conv, x, pos, batch)
    modules = {name: (one.dense_macs, one.effective_macs) for name, one in count.modules.items()}
    assert modules["in_proj"] == (8 * 120, 8 * 5 * 16)
    filters = count.products["views.0.conv1d.weight"][0].operations
    assert filters.effective_macs * 2 == filters.dense_macs
    projection = count.products["views.0.x_proj.weight"][0].operations
    assert projection.effective_macs * 2 == projection.dense_macs


def test_matrices_of_a_layer(conv: Any) -> None:
    assert [(one.name, one.matrix.role) for one in list_matrices(conv)] == [
        ("in_proj.weight", "input"),
        ("views.0.conv1d.weight", "input"),
        ("views.0.x_proj.weight", "output"),
        ("views.0.dt_proj.weight", "output"),
        ("out_proj.weight", "input"),
    ]


def test_layer_without_known_inputs_has_no_matrix() -> None:
    layer = Linear(-1, 4)
    assert list_matrices(layer) == []
    assert count_operations(layer, torch.ones(2, 3)).total.dense_macs == 24
    assert len(list_matrices(layer)) == 1


def test_embedding_of_events_is_a_table() -> None:
    embedding = EventEmbedding(4, (3,), 2, None)
    assert [one.matrix.role for one in list_matrices(embedding)] == ["lookup"]
    assert list_matrices(EventEmbedding(4, (3,), 2, 2)) == []
