"""knn has the arguments of torch_geometric's knn."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch_geometric.nn.pool as pyg
from torch_geometric.data import Data
from torch_geometric.transforms import KNNGraph

from evenfall_stream.neighbors import fps, knn
from evenfall_stream.transforms import NearestNeighborGraph

X, Y = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0)).unbind(0)
BATCH = torch.arange(20) // 7


def names(function: Any) -> list[tuple[str, Any]]:
    return [(one.name, one.default) for one in inspect.signature(function).parameters.values()]


def test_the_arguments_are_those_of_torch_geometric() -> None:
    assert names(knn) == names(pyg.knn)
    hosts = names(pyg.fps)
    assert names(fps)[: len(hosts)] == hosts
    hosts = names(KNNGraph.__init__)
    assert names(NearestNeighborGraph.__init__) == hosts


def test_cosine_compares_angles() -> None:
    edges = knn(X, Y, 4, BATCH, BATCH, True)
    cosine = torch.nn.functional.cosine_similarity(Y[:, None].double(), X[None].double(), dim=2)
    cosine[BATCH[:, None] != BATCH] = -2
    assert torch.equal(edges[1].view(20, 4), cosine.topk(4).indices)
    assert torch.equal(knn(X * 1e-30, Y * 1e30, 4, BATCH, BATCH, cosine=True), edges)
    assert not torch.equal(edges, knn(X, Y, 4, BATCH, BATCH))


def test_num_workers_and_batch_size_do_not_change_the_result() -> None:
    expected = knn(X, Y, 4, BATCH, BATCH)
    assert torch.equal(knn(X, Y, 4, BATCH, BATCH, False, 2, 3), expected)
    assert torch.equal(knn(X, Y, 4, BATCH, BATCH, batch_size=5), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 2}, "batch_size must be at least 3, the number of graphs in batch_x"),
        ({"num_workers": 0}, "num_workers must be at least 1, got 0"),
        ({"x": torch.zeros(20, 3), "cosine": True}, "x must not contain the origin .* at point 0"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn(**{"x": X, "y": Y, "k": 2, "batch_x": BATCH, "batch_y": BATCH, **arguments})


def test_the_graph_transform_takes_the_options_of_torch_geometric() -> None:
    data = Data(pos=X)
    plain = NearestNeighborGraph(4)(data.clone()).edge_index
    flipped = NearestNeighborGraph(4, flow="target_to_source")(data.clone()).edge_index
    assert torch.equal(plain.flip(0), flipped)
    both = NearestNeighborGraph(4, force_undirected=True)(data.clone())
    assert both.is_undirected()
    assert both.num_edges >= plain.shape[1]
    angles = NearestNeighborGraph(4, cosine=True, loop=True)(data.clone()).edge_index
    assert torch.equal(angles.flip(0), knn(X, X, 4, cosine=True))
    with pytest.raises(ValueError, match="flow must be one of source_to_target, target"):
        NearestNeighborGraph(4, flow="up")
