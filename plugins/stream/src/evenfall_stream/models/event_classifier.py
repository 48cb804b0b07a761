"""EventStreamClassifier: classifies recordings of an event camera or a spiking audio sensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenfall.checks import check_choice
from evenfall.errors import shorten

from ..checks import check_features, check_pos, check_sizes, list_names
from ..graphs import Graphs, read_graphs
from ..nn.block import StreamBlock
from ..nn.event_embedding import EventEmbedding, on_sensor
from ..nn.event_pooling import window_means, windows
from ..nn.pooling import pool, weighted_mean
from ..nn.serialization import serialize_graphs
from .hub import StreamHubMixin


class EventStage(nn.Module):
    r"""STREAM blocks of one stage. The first block pools windows of `stride` events.

    It adds the layer's output at the last event of each window to the mean of the window's inputs,
    and a linear layer changes the width:

    .. math::
        x'_w = W \, \tfrac{1}{|w|} \textstyle\sum_{i \in w} x_i
            + W \, \mathrm{StreamConv}(\mathrm{LN}(x))_{\mathrm{last}(w)}

    A token has the time of its last event, so that the step between tokens is the sum of the steps
    of its events.
    """

    def __init__(
        self, in_width: int, width: int, stride: int, rates: list[float], **block: Any
    ) -> None:
        super().__init__()
        self.stride = stride
        self.pooling = StreamBlock(in_width, drop_path=rates[0], **block)
        self.widen = nn.Linear(in_width, width) if width != in_width else nn.Identity()
        self.blocks = nn.ModuleList(
            StreamBlock(width, drop_path=rate, **block) for rate in rates[1:]
        )

    def forward(self, x: Tensor, time: Tensor, graphs: Graphs) -> tuple[Tensor, Tensor, Graphs]:
        """(N, in_width) events at (N, 1) times to (T, width) tokens, their times and recordings.

        The times do not decrease within a recording.
        """
        block = self.pooling
        pooled = windows(graphs, self.stride)
        order = block.conv.serialize_graphs(time, graphs)
        branch = block.conv(block.norm(x), time, graphs.batch, order)
        branch = block.drop_branch(branch.index_select(0, pooled.last), pooled.graphs)
        x = block.add_mlp(window_means(x, pooled) + branch, pooled.graphs)
        x, time, graphs = self.widen(x), time[pooled.last], pooled.graphs
        if len(self.blocks):
            order = self.blocks[0].conv.serialize_graphs(time, graphs)
            for block in self.blocks:
                x = block(x, time, graphs.batch, order)
        return x, time, graphs


class EventStreamClassifier(nn.Module, StreamHubMixin, model_type="event-stream-classifier"):
    """Classify event streams with STREAM layers along time, one token per event.

    An embedding of pixel and polarity, then stages of STREAM blocks: the first block of each stage
    pools every `stride` tokens to one. The tokens of the last stage are averaged and classified.
    All layers run forward in time: `evenfall_stream.OnlineClassifier` gives the same result while
    the events arrive.

    Args:
        num_classes: number of classes.
        sensor_size: (width, height) in pixels, or (channels,) for audio.
        class_names: names of the classes, saved with the model.
        polarities: number of polarities; x is 0 to polarities - 1.
        frequencies: None for an independent vector per pixel; a number: see EventEmbedding.
        widths: channels of each stage.
        depths: blocks of each stage, at least 1.
        strides: tokens that each stage pools to one; 1 for no pooling.
        head: "mean", or "time", the mean weighted by the time step before each token.
        dropout: before the last linear layer.
        drop_path: of the last block; rises linearly from 0 at the first block.
        length_scale: shortest and longest memory at initialisation, in milliseconds.
        **block: keyword arguments of StreamBlock and StreamConv.

    Raises:
        ValueError: widths, depths and strides differ in length, the head is unknown, or a size is
            out of range.

    Shapes:
        - **input:** polarities :math:`(|\\mathcal{V}|, 1)`, positions
          :math:`(|\\mathcal{V}|, 1 + k)` of time in milliseconds and k sensor coordinates, batch
          vector :math:`(|\\mathcal{V}|)` *(optional)*
        - **output:** logits :math:`(B, classes)`

    Source: the stages are those of Event-SSM (arXiv 2404.18508), the layer is STREAM's.
    """

    def __init__(
        self,
        num_classes: int,
        sensor_size: Sequence[int],
        *,
        class_names: Sequence[str] | None = None,
        polarities: int = 2,
        frequencies: int | None = None,
        widths: Sequence[int] = (64, 128),
        depths: Sequence[int] = (1, 2),
        strides: Sequence[int] = (8, 8),
        head: Literal["mean", "time"] = "mean",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        length_scale: tuple[float, float] = (20.0, 2000.0),
        **block: Any,
    ) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(strides) or not widths:
            raise ValueError(
                "widths, depths and strides must have one entry per stage, "
                f"got {len(widths)}, {len(depths)} and {len(strides)}"
            )
        if min(depths) < 1 or min(strides) < 1:
            raise ValueError(f"depths and strides must be positive, got {depths} and {strides}")
        check_choice("head", head, ("mean", "time"))
        check_sizes(num_classes=num_classes)
        self.num_classes = num_classes
        self.class_names = list_names(class_names, num_classes)
        self.sensor_size, self.polarities, self.head = tuple(sensor_size), polarities, head
        self.embedding = EventEmbedding(widths[0], sensor_size, polarities, frequencies)
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        along_time = {"dimensions": 1, "presorted": True}
        for name, value in along_time.items():
            if block.get(name, value) != value:
                raise ValueError(
                    f"{name} must be {value}, because events are in the order of time, "
                    f"got {shorten(block[name])}"
                )
        settings = {**block, **along_time, "length_scale": tuple(length_scale)}
        self.stages = nn.ModuleList(
            EventStage(in_width, width, stride, [next(rates) for _ in range(depth)], **settings)
            for in_width, width, stride, depth in zip(
                [widths[0], *widths], widths, strides, depths, strict=False
            )
        )
        self.keep_options(EventStreamClassifier, block, along_time)
        self.norm = nn.LayerNorm(widths[-1])
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(widths[-1], num_classes)

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """(N, 1) polarities, (N, 1 + k) times and coordinates, (N,) recordings to (B, classes).

        An empty recording gets the logits of an all-zero feature. Pass `batch_size`, the number of
        recordings, if the last ones may be empty. An empty input is one recording.

        Raises:
            ValueError: shapes do not match, pos is not finite, times decrease, an event is outside
                the sensor, or batch is unsorted or negative.
            TypeError: x or pos is not floating point, or batch is not integer.
        """
        tokens, time, graphs = self.embed(x, pos, batch, batch_size)
        for stage in self.stages:
            tokens, time, graphs = stage(tokens, time, graphs)
        tokens, recordings = self.norm(tokens), torch.sym_max(graphs.count, 1)
        if self.head == "mean":
            pooled = pool(tokens, graphs.batch, recordings, "mean")
        else:
            step = serialize_graphs(time, graphs, presorted=True).step
            pooled = weighted_mean(tokens, step, graphs.batch, recordings)
        return self.classify(self.dropout(pooled))

    def embed(
        self, x: Tensor, pos: Tensor, batch: Tensor | None, batch_size: int | None = None
    ) -> tuple[Tensor, Tensor, Graphs]:
        """Check the events; return their vectors, (N, 1) times and recordings."""
        check_pos(pos)
        columns = 1 + len(self.sensor_size)
        if pos.shape[1] != columns:
            raise ValueError(
                f"pos must have shape (events, {columns}): time and {columns - 1} sensor "
                f"coordinates, got {tuple(pos.shape)}"
            )
        check_features(x, pos, 1)
        coordinates, polarity = pos[:, 1:], x[:, 0]
        inside = on_sensor(coordinates, polarity, self.sensor_size, self.polarities)
        graphs = read_graphs(pos, batch, batch_size, sorted_axes=(0,), checks=inside)
        return self.embedding(coordinates, polarity), pos[:, :1], graphs
