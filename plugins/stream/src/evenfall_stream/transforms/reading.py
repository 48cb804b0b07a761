"""What the transforms read from Data, and refuse."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data


def positions(data: Data, transform: str) -> Tensor:
    """data.pos, (N, D).

    Raises:
        TypeError: it is not floating point.
        ValueError: there is none, it has another number of dimensions, or it is not finite.
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
        raise IndexError(f"{transform}: axis must be below {pos.shape[1]}, got {axis}")
    return pos[:, axis]


def graphs_of(data: Data) -> Tensor:
    """The graph of each point, (N,): data.batch, or zeros for a single graph."""
    batch = data.get("batch")
    if batch is None:
        return torch.zeros(data.num_nodes or 0, dtype=torch.int64, device=data.pos.device)
    return batch


def graph_attributes(data: Data) -> list[str]:
    """What a collated Batch holds for its graphs and not for its points.

    torch_geometric goes by length, and takes one for the other where there are as many graphs.
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
    """A collated Batch knows the sizes of its graphs, which choosing points would make wrong.

    Raises:
        TypeError: the data is a Batch.
    """
    if isinstance(data, Batch):
        raise TypeError(f"{transform} works on Data, before batching, got {type(data).__name__}")
