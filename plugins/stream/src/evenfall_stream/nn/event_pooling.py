"""Event pooling: fewer tokens from stage to stage, each at the time of its last event.

Letters: N events, T windows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import scatter


class Windows(NamedTuple):
    """Consecutive events of a recording, `stride` at a time; the last window may be shorter.

    Attributes:
        of_event: (N,) the window of each event.
        last: (T,) the last event of each window.
        batch: (T,) the recording of each window.
    """

    of_event: Tensor
    last: Tensor
    batch: Tensor


def windows(batch: Tensor, graphs: int, stride: int) -> Windows:
    """Cut each recording of a flat batch (N,) into windows."""
    counts = torch.bincount(batch, minlength=graphs)
    per_graph = (counts + stride - 1) // stride
    start = counts.cumsum(0) - counts
    first_window = per_graph.cumsum(0) - per_graph
    place = torch.arange(batch.numel(), device=batch.device) - start[batch]
    of_event = first_window[batch] + place // stride
    window_graph = torch.arange(graphs, device=batch.device).repeat_interleave(per_graph)
    number = torch.arange(window_graph.numel(), device=batch.device) - first_window[window_graph]
    last = start[window_graph] + torch.minimum((number + 1) * stride, counts[window_graph]) - 1
    return Windows(of_event, last, window_graph)


def window_means(x: Tensor, cut: Windows) -> Tensor:
    """(N, W) events to (T, W) means over their windows."""
    return scatter(x, cut.of_event, 0, cut.last.numel(), reduce="mean")
