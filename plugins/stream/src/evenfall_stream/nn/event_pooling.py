"""Event pooling: each stage has fewer tokens than the last, at the time of their last events.

Letters: N events, T windows.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from ..graphs import Graphs, starts_of
from ..tracing import read_number

Count = TypeVar("Count", int, Tensor)


class Windows(NamedTuple):
    """Windows of `stride` consecutive events of a recording; the last one may be shorter.

    Attributes:
        of_event: (N,) the window of each event.
        last: (T,) the last event of each window.
        graphs: the windows of each recording.
    """

    of_event: Tensor
    last: Tensor
    graphs: Graphs


def windows(graphs: Graphs, stride: int) -> Windows:
    """Divide each recording into windows."""
    batch, start = graphs.batch, graphs.ptr[:-1]
    counts, sizes = graphs.ptr.diff(), _windows_of(graphs.sizes, stride)
    per_graph = _windows_of(counts, stride)
    first_window = per_graph.cumsum(0) - per_graph
    place = torch.arange(batch.numel(), device=batch.device) - start[batch]
    of_event = first_window[batch] + place // stride
    if graphs.one:
        window_graph = batch.new_zeros(_windows_of(batch.shape[0], stride))
    else:
        total = read_number(sizes.sum(), least=1) if batch.shape[0] else 0
        window_graph = torch.arange(graphs.count, device=batch.device).repeat_interleave(
            per_graph, output_size=total
        )
    number = torch.arange(window_graph.numel(), device=batch.device) - first_window[window_graph]
    last = start[window_graph] + torch.minimum((number + 1) * stride, counts[window_graph]) - 1
    return Windows(of_event, last, Graphs(window_graph, sizes, starts_of(per_graph), graphs.one))


def _windows_of(counts: Count, stride: int) -> Count:
    return (counts + stride - 1) // stride


def window_means(x: Tensor, event_windows: Windows) -> Tensor:
    """(N, W) events to (T, W) means over their windows."""
    return scatter(x, event_windows.of_event, 0, event_windows.last.numel(), reduce="mean")
