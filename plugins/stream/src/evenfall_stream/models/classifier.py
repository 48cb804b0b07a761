"""StreamClassifier: classifies point clouds; one argument selects a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from evenfall.checks import check_choice

from ..checks import (
    check_features,
    check_in_channels,
    check_pos,
    check_rows,
    check_sizes,
    list_names,
)
from ..graphs import Graphs, read_graphs
from ..nn.pooling import POOLS, pool
from .arguments import block_options
from .backbone import SET_BY_LAYOUT, PointBackbone
from .hub import StreamHubMixin
from .pointnet import PointNet

ARCHITECTURES = ("stream", "pointmamba", "pointnet")


class StreamClassifier(nn.Module, StreamHubMixin, model_type="stream-classifier"):
    """Classify point clouds.

    Points are grouped to tokens (farthest point sampling, nearest neighbours, a small PointNet).
    The tokens pass through STREAM blocks, are pooled, and an MLP classifies the result. This is
    the network of PointMamba with STREAM's step instead of Mamba's.

    Args:
        num_classes: number of classes.
        class_names: names of the classes, saved with the model.
        architecture: "stream"; "pointmamba", the same with Mamba's learned step and, in the
            sequence layout, one state along all axes; or "pointnet", an MLP per point and their
            maximum, without interaction between points: it has width, head and dropout, and the
            options of tokens, layout, pooling and blocks change nothing.
        in_channels: features per point besides the position.
        dimensions: columns of pos.
        width: channels.
        depth: number of blocks.
        groups: tokens per cloud, or None for one token per point.
        neighbors: points per token.
        layout: "parallel" or "sequence", see PointBackbone.
        pooling: "mean", "max" or "meanmax".
        head: hidden units of the classifying MLP.
        dropout: in that MLP.
        drop_path: of the last block.
        position_embedding: whether to add an embedding of the position, see PointBackbone.
        **block: keyword arguments of StreamBlock and StreamConv.

    Raises:
        TypeError: no such argument.
        ValueError: an unknown option, or a size out of range.

    Shapes:
        - **input:** positions :math:`(|\\mathcal{V}|, D)`, batch vector
          :math:`(|\\mathcal{V}|)` *(optional)*, node features :math:`(|\\mathcal{V}|, F)`
          *(optional)*
        - **output:** logits :math:`(B, classes)`
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        architecture: Literal["stream", "pointmamba", "pointnet"] = "stream",
        in_channels: int = 0,
        dimensions: int = 3,
        width: int = 384,
        depth: int = 12,
        groups: int | None = 64,
        neighbors: int = 32,
        layout: Literal["parallel", "sequence"] = "parallel",
        pooling: Literal["mean", "max", "meanmax"] = "mean",
        head: Sequence[int] = (256, 256),
        dropout: float = 0.5,
        drop_path: float = 0.0,
        position_embedding: bool = True,
        **block: Any,
    ) -> None:
        super().__init__()
        check_choice("architecture", architecture, ARCHITECTURES)
        check_choice("pooling", pooling, POOLS)
        check_in_channels(in_channels)
        self.num_classes = num_classes
        self.class_names = list_names(class_names, num_classes)
        self.in_channels, self.dimensions = in_channels, dimensions
        self.pooling = "max" if architecture == "pointnet" else pooling
        if architecture == "pointnet":
            if unknown := sorted(set(block) - set(block_options(StreamClassifier))):
                raise TypeError(f"StreamClassifier has no arguments {unknown}")
            self.backbone: nn.Module = PointNet(width, in_channels, dimensions)
        else:
            if architecture == "pointmamba":
                block = {"step": "learned", **block}
            self.backbone = PointBackbone(
                width, depth, groups, neighbors, in_channels, dimensions, layout, drop_path,
                position_embedding, **block,
            )  # fmt: skip
            self.keep_options(StreamClassifier, block, SET_BY_LAYOUT[layout])
        self.head = classifying_head(
            width * (2 if self.pooling == "meanmax" else 1), head, num_classes, dropout
        )

    def forward(
        self,
        pos: Tensor,
        batch: Tensor | None = None,
        x: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """(N, D) positions, (N,) graphs, (N, in_channels) features to (B, classes) logits.

        An empty cloud in a batch gets the logits of an all-zero feature. Pass `batch_size`, the
        number of clouds, if the last ones may be empty.

        Raises:
            ValueError: shapes do not match, pos is not finite, batch is unsorted or negative,
                there are no points, or training has a single cloud, which gives BatchNorm no
                variance.
            TypeError: pos is not floating point, or batch is not integer.
        """
        graphs = check_cloud(pos, batch, x, self.dimensions, self.in_channels, batch_size)
        if self.training and len(self.head) > 1:
            check_rows(graphs.count, "clouds")
        tokens = self.backbone(pos, graphs, x)
        return self.head(pool(tokens.x, tokens.graphs.batch, graphs.count, self.pooling))


def check_cloud(
    pos: Tensor,
    batch: Tensor | None,
    x: Tensor | None,
    dimensions: int,
    in_channels: int,
    batch_size: int | None = None,
) -> Graphs:
    """Check a model's arguments and return the clouds; there must be at least one point."""
    check_pos(pos)
    if pos.shape[1] != dimensions:
        raise ValueError(f"pos must have shape (points, {dimensions}), got {tuple(pos.shape)}")
    if not pos.shape[0]:
        raise ValueError("pos must have at least one point, got none")
    if in_channels and x is None:
        raise ValueError(f"x must have {in_channels} features per point, got None")
    if x is not None:
        check_features(x, pos, in_channels)
    return read_graphs(pos, batch, batch_size)


def classifying_head(
    width: int, hidden: Sequence[int], classes: int, dropout: float
) -> nn.Sequential:
    """Linear, BatchNorm, ReLU and dropout for each hidden size, then a linear layer."""
    check_sizes(num_classes=classes, **{f"head[{i}]": size for i, size in enumerate(hidden)})
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [
            nn.Linear(width, size, bias=False), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(dropout)
        ]  # fmt: skip
        width = size
    return nn.Sequential(*layers, nn.Linear(width, classes))
