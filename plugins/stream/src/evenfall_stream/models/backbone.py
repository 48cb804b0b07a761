"""The backbone of the point cloud models: tokens, position embedding, STREAM blocks."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from evenfall.checks import check_choice

from ..graphs import Graphs
from ..nn.block import StreamBlock
from ..nn.serialization import Serialization, end_to_end, serialize_graphs
from .grouping import EveryPoint, PointTokens, Tokens

SET_BY_LAYOUT: dict[str, dict[str, Any]] = {
    "parallel": {},
    "sequence": {"axes": (0,), "combine": "sum"},
}
"""Options of StreamConv that the layout sets."""


class PointBackbone(nn.Module):
    """Tokens of a cloud, a position embedding and `depth` STREAM blocks with a final norm.

    Args:
        width: channels.
        depth: number of blocks.
        groups: tokens per cloud, or None for one token per point.
        neighbors: points per group.
        in_channels: features per point besides the position.
        dimensions: columns of pos.
        layout: "parallel": each layer scans every axis and combines them; "sequence",
            PointMamba's: the tokens are repeated in the order of each axis, and every layer scans
            this one sequence. The state is reset at the start of each axis with coordinate steps,
            and continues otherwise.
        drop_path: of the last block; rises linearly from 0 at the first block.
        position_embedding: whether an MLP of the position is added to the tokens; otherwise only
            the order and the steps carry the position.
        **block: keyword arguments of StreamBlock.

    Raises:
        ValueError: an unknown layout, or an option of the axes that layout "sequence" sets itself.
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
        check_choice("layout", layout, SET_BY_LAYOUT)
        if depth < 0:
            raise ValueError(f"depth must not be negative, got {depth}")
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
        """The tokens after the last block. The caller has checked positions, graphs and features.

        In the sequence layout each token occurs once per axis; `once` averages these copies.
        """
        tokens = self.tokens(pos, graphs, x)
        if self.position is not None:
            tokens = tokens._replace(x=tokens.x + self.position(tokens.pos.to(tokens.x.dtype)))
        if not self.blocks:
            return tokens._replace(x=self.norm(tokens.x))
        conv = self.blocks[0].conv
        if self.layout == "parallel":
            if conv.presorted:  # only the values tell whether tokens are sorted: check them
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
    """Options of the axes do not apply to a sequence, which already contains every axis."""
    if names := [name for name in ("axes", "bidirectional", "presorted") if block.get(name)]:
        raise ValueError(
            f"layout='sequence' scans every axis forward and does not support {names}; "
            "use layout='parallel'"
        )
