"""StreamSegmenter: classifies each point of a cloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenfall.checks import check_choice

from ..checks import check_in_channels, check_rows, list_names
from ..graphs import Graphs
from ..neighbors.queries import nearest_table
from .backbone import SET_BY_LAYOUT, PointBackbone
from .classifier import check_cloud, classifying_head
from .grouping import PointMlp, Tokens, concatenate
from .hub import StreamHubMixin

ARCHITECTURES = ("stream", "pointmamba")
NEAREST = 3


class StreamSegmenter(nn.Module, StreamHubMixin, model_type="stream-segmenter"):
    r"""Classify each point of point clouds.

    The tokens of StreamClassifier's backbone are interpolated to each point from its three nearest
    tokens:

    .. math::
        \mathbf f_i = \frac{\sum_{t} w_{it} \mathbf f_t}{\sum_{t} w_{it}}, \qquad
        w_{it} = \lVert \mathbf p_i - \mathbf p_t \rVert^{-2}

    An MLP classifies the result together with the point's own features.

    Args:
        num_classes: number of classes.
        class_names: names of the classes, saved with the model.
        architecture: "stream", or "pointmamba", the same with Mamba's learned step.
        in_channels: features per point besides the position.
        dimensions: columns of pos.
        width: channels.
        depth: number of blocks.
        groups: tokens per cloud, or None for one token per point, without interpolation.
        neighbors: points per token.
        layout: "parallel" or "sequence", see PointBackbone; the copies of a token in the sequence
            are averaged.
        head: hidden units of the classifying MLP.
        dropout: in that MLP.
        drop_path: of the last block.
        position_embedding: whether to add an embedding of the position, see PointBackbone.
        **block: keyword arguments of StreamBlock and StreamConv.

    Shapes:
        - **input:** positions :math:`(|\mathcal{V}|, D)`, batch vector :math:`(|\mathcal{V}|)`
          *(optional)*, node features :math:`(|\mathcal{V}|, F)` *(optional)*
        - **output:** logits :math:`(|\mathcal{V}|, classes)`

    Raises:
        ValueError: an unknown option, or a size out of range.

    Source: the interpolation is PointNet++'s, arXiv 1706.02413.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        architecture: Literal["stream", "pointmamba"] = "stream",
        in_channels: int = 0,
        dimensions: int = 3,
        width: int = 384,
        depth: int = 12,
        groups: int | None = 128,
        neighbors: int = 32,
        layout: Literal["parallel", "sequence"] = "parallel",
        head: Sequence[int] = (256,),
        dropout: float = 0.5,
        drop_path: float = 0.0,
        position_embedding: bool = True,
        **block: Any,
    ) -> None:
        super().__init__()
        check_choice("architecture", architecture, ARCHITECTURES)
        check_in_channels(in_channels)
        self.num_classes = num_classes
        self.class_names = list_names(class_names, num_classes)
        self.in_channels, self.dimensions, self.groups = in_channels, dimensions, groups
        if architecture == "pointmamba":
            block = {"step": "learned", **block}
        self.backbone = PointBackbone(
            width, depth, groups, neighbors, in_channels, dimensions, layout, drop_path,
            position_embedding, **block,
        )  # fmt: skip
        self.keep_options(StreamSegmenter, block, SET_BY_LAYOUT[layout])
        self.skip = PointMlp(dimensions + in_channels, width, width)
        self.head = classifying_head(2 * width, head, num_classes, dropout)

    def forward(
        self,
        pos: Tensor,
        batch: Tensor | None = None,
        x: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """(N, D) positions, (N,) graphs, (N, in_channels) features to (N, classes) logits.

        Raises:
            ValueError: shapes do not match, pos is not finite, batch is unsorted or negative,
                there are no points, or training has a single point.
            TypeError: pos is not floating point, or batch is not integer.
        """
        graphs = check_cloud(pos, batch, x, self.dimensions, self.in_channels, batch_size)
        if self.training:
            check_rows(pos.shape[0], "points")
        tokens = self.backbone(pos, graphs, x, once=True)
        features = tokens.x if self.groups is None else interpolate(tokens, pos, graphs)
        return self.head(torch.cat([features, self.skip(concatenate(pos, x))], 1))


def interpolate(tokens: Tokens, pos: Tensor, graphs: Graphs) -> Tensor:
    """(T, W) tokens to (N, W) points: the weighted mean of a point's three nearest tokens."""
    token = nearest_table(tokens.pos, pos, NEAREST, tokens.graphs, graphs)  # (N, 3)
    missing, token = token < 0, token.clamp(min=0)  # a small cloud has fewer tokens
    offset = pos[:, None] - tokens.pos[token]
    dtype = torch.promote_types(offset.dtype, torch.float32)  # squares overflow float16
    squared = offset.to(dtype).square().sum(2)
    weight = 1 / squared.clamp(min=torch.finfo(dtype).eps ** 2)  # the point may be a centre
    weight = weight.masked_fill(missing, 0)
    weight = weight / weight.sum(1, keepdim=True)
    return (tokens.x[token] * weight[:, :, None]).sum(1).to(tokens.x.dtype)
