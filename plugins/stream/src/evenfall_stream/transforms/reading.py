"""How the transforms read Data, and the checks of it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data


def positions(data: Data, transform: str) -> Tensor:
    """data.pos, (N, D).

    Raises:
        TypeError: it is not floating point.
        ValueError: it is missing, does not have two dimensions, or is not finite.
    """
    pos = data.get("pos")
    if not isinstance(pos, Tensor) or pos.dim() != 2:
        got = f"shape {tuple(pos.shape)}" if isinstance(pos, Tensor) else type(pos).__name__
        raise ValueError(f"{transform} needs data.pos of shape (points, coordinates), got {got}")
    if not pos.is_floating_point():
        raise TypeError(f"{transform} needs a floating point data.pos, got {pos.dtype}")
    if not (finite := pos.isfinite().all(1)).all():
        at = int((~finite).nonzero()[0])
        values = pos[at].tolist()
        raise ValueError(f"{transform} needs finite positions, got {values} at point {at}")
    return pos


def coordinate(data: Data, axis: int, transform: str) -> Tensor:
    """data.pos[:, axis], (N,).

    Raises:
        IndexError: pos has no such axis.
        TypeError, ValueError: as positions.
    """
    pos = positions(data, transform)
    if not -pos.shape[1] <= axis < pos.shape[1]:
        raise IndexError(
            f"{transform}: axis must be a column of pos, below {pos.shape[1]}, got {axis}"
        )
    return pos[:, axis]


def graphs_of(data: Data) -> Tensor:
    """The graph of each point, (N,): data.batch, or zeros for a single graph."""
    batch = data.get("batch")
    if batch is None:
        return torch.zeros(data.num_nodes or 0, dtype=torch.int64, device=data.pos.device)
    return batch


def graph_attributes(data: Data) -> list[str]:
    """The attributes of a Batch that belong to graphs, not to points.

    torch_geometric goes by length and confuses the two if there are as many graphs as points.
    """
    if not isinstance(data, Batch):
        return []
    points = data.ptr.diff()
    per_graph = [
        name
        for name, slices in data._slice_dict.items()
        if isinstance(data.get(name), Tensor) and not torch.equal(slices.diff(), points.cpu())
    ]
    return ["ptr", *(name for name in per_graph if name != "edge_index")]


def refuse_batch(data: Data, transform: str) -> None:
    """Refuse a Batch: selecting points would invalidate the sizes of its graphs.

    Raises:
        TypeError: the data is a Batch.
    """
    if isinstance(data, Batch):
        raise TypeError(
            f"{transform} needs Data of one graph, got {type(data).__name__}; apply it before "
            "batching"
        )
