"""The trunk of the point cloud models: tokens, positions, STREAM blocks."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from ..graphs import Graphs
from ..nn.block import StreamBlock
from ..nn.serialization import Serialization, end_to_end, serialize_graphs
from .grouping import EveryPoint, PointTokens, Tokens

SET_BY_LAYOUT: dict[str, dict[str, Any]] = {
    "parallel": {},
    "sequence": {"axes": (0,), "combine": "sum"},
}
"""Options of StreamConv that a layout sets by itself."""


class PointBackbone(nn.Module):
    """Tokens of a cloud, a position perceptron and `depth` STREAM blocks with a final norm.

    Args:
        width: channels.
        depth: blocks.
        groups: tokens per cloud, or None for a token a point.
        neighbors: points per group.
        in_channels: features per point besides the position.
        dimensions: columns of pos.
        layout: "parallel": each layer goes along every axis and combines them; "sequence":
            PointMamba's, the tokens are repeated in the order of each axis and every layer goes
            along that one sequence. There the state begins afresh at each axis with coordinate
            steps, and runs on without.
        drop_path: of the last block, rising linearly from 0 at the first.
        position_embedding: whether tokens are given their position, by the perceptron; otherwise
            they know it from the order and the steps alone.
        **block: keyword arguments of StreamBlock.

    Raises:
        ValueError: an unknown layout, or settings of the axes that "sequence" takes from itself.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        groups: int | None,
        neighbors: int,
        in_channels: int,
        dimensions: int,
        layout: Literal["parallel", "sequence"],
        drop_path: float,
        position_embedding: bool = True,
        **block: Any,
    ) -> None:
        super().__init__()
        if layout not in SET_BY_LAYOUT:
            raise ValueError(f"layout must be 'parallel' or 'sequence', got {layout!r}")
        if depth < 0:
            raise ValueError(f"depth must be 0 or positive, got {depth}")
        self.layout = layout
        self.tokens = (
            EveryPoint(width, in_channels, dimensions)
            if groups is None
            else PointTokens(width, in_channels, groups, neighbors, dimensions)
        )
        hidden = max(width // 3, 1)
        self.position = (
            nn.Sequential(nn.Linear(dimensions, hidden), nn.GELU(), nn.Linear(hidden, width))
            if position_embedding
            else None
        )
        if layout == "sequence":
            _check_sequence(block)
        block |= SET_BY_LAYOUT[layout]
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(
            StreamBlock(width, drop_path=rate, dimensions=dimensions, **block) for rate in rates
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, pos: Tensor, graphs: Graphs, x: Tensor | None = None, once: bool = False
    ) -> Tokens:
        """Tokens after the last block, of checked positions, graphs and features.

        In the sequence layout a token comes once for each axis, or with `once` as the mean of
        those.
        """
        tokens = self.tokens(pos, graphs, x)
        if self.position is not None:
            tokens = tokens._replace(x=tokens.x + self.position(tokens.pos.to(tokens.x.dtype)))
        if not self.blocks or not tokens.pos.shape[0]:
            return tokens._replace(x=self.norm(tokens.x))
        conv = self.blocks[0].conv
        if self.layout == "parallel":
            if conv.presorted:  # whether tokens come in order depends on their values
                order = conv.serialize(tokens.pos, tokens.graphs.batch)
            else:
                order = conv.serialize_graphs(tokens.pos, tokens.graphs)
            return tokens._replace(x=self._blocks(tokens, order))
        views = serialize_graphs(tokens.pos, tokens.graphs)
        rows, order = end_to_end(views, joined=conv.step != "coordinate")
        repeated = Tokens(tokens.x[rows], tokens.pos[rows], order.graphs)
        features = self._blocks(repeated, order)
        if not once:
            return repeated._replace(x=features)
        return tokens._replace(x=scatter(features, rows, 0, tokens.pos.shape[0], reduce="mean"))

    def _blocks(self, tokens: Tokens, order: Serialization) -> Tensor:
        features = tokens.x
        for block in self.blocks:
            features = block(features, tokens.pos, tokens.graphs.batch, order)
        return self.norm(features)


def _check_sequence(block: dict[str, Any]) -> None:
    """A sequence is one view, which goes along every axis by itself."""
    if clash := [name for name in ("axes", "bidirectional", "presorted") if block.get(name)]:
        raise ValueError(
            f"layout='sequence' goes along every axis, forward, by itself: leave out {clash}"
        )
