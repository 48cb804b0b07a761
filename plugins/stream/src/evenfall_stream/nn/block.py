"""StreamBlock: a STREAM layer and optionally an MLP, each a pre-norm residual branch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..graphs import Graphs
from .conv import StreamConv
from .drop_path import DropPath
from .mlp import Mlp
from .serialization import Serialization


class StreamBlock(nn.Module):
    r"""Pre-norm residual block around :class:`StreamConv`.

    .. math::
        \mathbf{X} &\leftarrow \mathbf{X} + \mathrm{StreamConv}(\mathrm{LN}(\mathbf{X})) \\
        \mathbf{X} &\leftarrow \mathbf{X} + \mathrm{MLP}(\mathrm{LN}(\mathbf{X}))
            \qquad \textrm{where } mlp\_ratio > 0

    Args:
        channels: size of each input and output.
        drop_path: probability of dropping a branch for a whole graph (:class:`DropPath`).
        mlp_ratio: hidden units of the MLP per channel; 0 for no MLP.
        dropout: dropout probability in the MLP.
        **conv: keyword arguments of StreamConv.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)`, positions
          :math:`(|\mathcal{V}|, D)`, batch vector :math:`(|\mathcal{V}|)` *(optional)*
        - **output:** node features :math:`(|\mathcal{V}|, F)`

    Raises:
        ValueError: drop_path or mlp_ratio is out of range, or as StreamConv.
    """

    def __init__(
        self,
        channels: int,
        *,
        drop_path: float = 0.0,
        mlp_ratio: float = 0.0,
        dropout: float = 0.0,
        **conv: Any,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(
                f"channels must be positive, got {channels}; only StreamConv and its in_channels "
                "can be inferred from the first call, because a block's norms have that size"
            )
        if not 0 <= drop_path < 1 or mlp_ratio < 0:
            raise ValueError(
                "drop_path must be in [0, 1) and mlp_ratio at least 0, "
                f"got {drop_path} and {mlp_ratio}"
            )
        self.norm = nn.LayerNorm(channels)
        self.conv = StreamConv(channels, channels, **conv)
        self.drop_path = DropPath(drop_path) if drop_path else None
        self.mlp_norm = nn.LayerNorm(channels) if mlp_ratio else None
        hidden = max(int(channels * mlp_ratio), 1)
        self.mlp = Mlp(channels, hidden, dropout) if mlp_ratio else None

    def reset_parameters(self) -> None:
        """Reinitialise all parameters."""
        self.norm.reset_parameters()
        self.conv.reset_parameters()
        if self.mlp is not None and self.mlp_norm is not None:
            self.mlp_norm.reset_parameters()
            self.mlp.fc1.reset_parameters()
            self.mlp.fc2.reset_parameters()

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        serialization: Serialization | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Like StreamConv.forward, with inputs and outputs of the same size."""
        if serialization is None:
            serialization = self.conv.serialize(pos, batch, batch_size)
        branch = self.conv(self.norm(x), pos, batch, serialization)
        x = x + self.drop_branch(branch, serialization.graphs)
        return self.add_mlp(x, serialization.graphs)

    def add_mlp(self, x: Tensor, graphs: Graphs | None = None) -> Tensor:
        """x plus the MLP branch, if there is one; drop path uses the graphs, in training only."""
        if self.mlp is None or self.mlp_norm is None:
            return x
        return x + self.drop_branch(self.mlp(self.mlp_norm(x)), graphs)

    def drop_branch(self, branch: Tensor, graphs: Graphs | None) -> Tensor:
        """The branch times 0 or 1 / (1 - drop_path), one draw per graph; None is one graph."""
        if self.drop_path is None or not self.training:
            return branch
        count = 1 if graphs is None else graphs.count
        draws = self.drop_path(torch.ones(count, 1, device=branch.device, dtype=branch.dtype))
        return branch * (draws if graphs is None else draws[graphs.batch])
