"""StreamConv: all-pairs geometric interaction of points in linear time, as a PyG layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.dense.linear import Linear

from ..checks import check_features, check_pos, check_sizes
from ..graphs import Graphs, read_graphs
from .selective import SelectiveState, SelectiveView
from .serialization import Serialization, columns, serialize_graphs

COMBINATIONS = ("sum", "mean", "concat", "attention")
STEPS = ("coordinate", "learned", "uniform")
DISCRETIZATIONS = ("mamba", "zoh", "dirac", "async")


class StreamConv(nn.Module):
    r"""The STREAM layer: a selective state-space model whose step is the coordinate difference.

    From `"STREAM: Spatio-Temporal Recursive Encoding of Asynchronous Modalities"
    <https://arxiv.org/abs/2411.12603>`_. Along each axis :math:`a` of the positions
    :math:`\mathbf p`, every point sees all points of its graph that come no later, with equal
    coordinates ordered by the other coordinates:

    .. math::
        \mathbf{y}^{(a)}_i &= \sum_{j \preceq_a i} \mathbf{C}_i \,
            e^{\mathbf{A} \mathbf{s} (p_{i,a} - p_{j,a})} \, \bar{\mathbf{B}}_j \mathbf{u}_j
            + \mathbf{D} \mathbf{u}_i \\
        \mathbf{x}^{\prime}_i &= \mathbf{W}_{out} \Bigl( \bigoplus_a \mathbf{y}^{(a)}_i \odot
            \mathrm{silu}(\mathbf{z}_i) \Bigr), \qquad
            (\mathbf{u}_i, \mathbf{z}_i) = \mathbf{W}_{in} \mathbf{x}_i

    in :math:`O(N)` after sorting. :math:`\mathbf{u}` has passed a causal convolution along the
    order and silu; :math:`\mathbf B_j` and :math:`\mathbf C_i` are linear in it, and
    :math:`\bar{\mathbf B}_j = \Delta_j \mathbf B_j` with :math:`\Delta_j` the softplus of a linear
    function of it, as in Mamba (for ``discretization="mamba"``). Distances enter the decay alone.
    `evenfall_stream.nn.oracle.all_pairs` is this sum written out.

    The layer is equivariant to permutations of the points of a graph (up to the order of points
    that coincide), invariant to translations, and graphs do not see each other.

    Args:
        in_channels: size of each input, or -1 to take it from the first call.
        out_channels: size of each output.
        axes: the columns of `pos` to go along, of which there may be more; all of them where None.
        dimensions: columns of `pos` where axes is None.
        bidirectional: whether to go along each axis in both directions.
        separate_weights: whether each axis and direction has a convolution and state-space model
            of its own; shared otherwise. The projections in and out are always shared.
        combine: how the axes come together, "sum", "mean", "concat" or "attention" (a softmax
            over the axes, of a score linear in each).
        step: what the state decays over: "coordinate", STREAM's difference; "learned", Mamba's
            own step; "uniform", 1 from each point to the next.
        discretization: of the input, "mamba", "zoh", "dirac" or "async", see
            `evenfall_kernels.selective_scan`.
        length_scale: shortest and longest memory at the start, of the slowest state of each
            channel, in units of `pos` (of points with the uniform step). (0.1, 2) suits clouds in
            the unit sphere, (20, 2000) events in milliseconds.
        d_state: states per channel.
        d_conv: taps of the causal convolution; 0 for none.
        expand: inner channels per output channel.
        dt_rank: rank of the projection to delta; out_channels / 16, rounded up, where None.
        presorted: whether the points come in order along the axes already, as events do; they
            are then not sorted, and a coordinate that decreases is an error.
        bias: whether the projections in and out have a bias.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F_{in})`, positions
          :math:`(|\mathcal{V}|, D)`, batch vector :math:`(|\mathcal{V}|)` *(optional)*
        - **output:** node features :math:`(|\mathcal{V}|, F_{out})`

    Raises:
        ValueError: an option that is unknown, or a size out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        axes: Sequence[int] | None = None,
        *,
        dimensions: int = 3,
        bidirectional: bool = False,
        separate_weights: bool = False,
        combine: Literal["sum", "mean", "concat", "attention"] = "sum",
        step: Literal["coordinate", "learned", "uniform"] = "coordinate",
        discretization: Literal["mamba", "zoh", "dirac", "async"] = "mamba",
        length_scale: tuple[float, float] = (0.1, 2.0),
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | None = None,
        presorted: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        _choose("combine", combine, COMBINATIONS)
        _choose("step", step, STEPS)
        _choose("discretization", discretization, DISCRETIZATIONS)
        check_sizes(
            out_channels=out_channels,
            dimensions=dimensions,
            d_state=d_state,
            expand=expand,
            dt_rank=1 if dt_rank is None else dt_rank,
        )
        if d_conv < 0:
            raise ValueError(f"d_conv must be 0 or positive, got {d_conv}")
        if len(length_scale) != 2 or not 0 < length_scale[0] <= length_scale[1] < math.inf:
            raise ValueError(
                f"length_scale must be (shortest, longest) with 0 < shortest <= longest, "
                f"got {tuple(length_scale)}"
            )
        if step == "learned" and discretization == "async":
            raise ValueError("discretization='async' does not support step='learned'")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.all_axes = axes is None
        self.axes = tuple(range(dimensions)) if axes is None else tuple(axes)
        if not self.axes or min(self.axes) < 0:
            raise ValueError(f"axes must name columns of pos, 0 or above, got {axes}")
        self.dimensions, self.bidirectional, self.presorted = dimensions, bidirectional, presorted
        self.combine, self.step = combine, step
        self.length_scale = tuple(length_scale)
        inner = expand * out_channels
        self.inner = inner
        self.in_proj = Linear(in_channels, 2 * inner, bias=bias)
        views = self._view_count()
        self.views = nn.ModuleList(
            SelectiveView(
                inner,
                d_state,
                d_conv,
                math.ceil(out_channels / 16) if dt_rank is None else dt_rank,
                None if step == "learned" else self.length_scale,
                discretization,
            )
            for _ in range(views if separate_weights else 1)
        )
        self.score = nn.Linear(inner, 1) if combine == "attention" else None
        gathered = views if combine == "concat" else 1
        self.out_proj = Linear(gathered * inner, out_channels, bias=bias)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.in_proj.reset_parameters()
        self.out_proj.reset_parameters()
        if self.score is not None:
            self.score.reset_parameters()
        for view in self.views:
            view.reset_parameters()

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that set time scales, which decay would drag."""
        return {n for n, _ in self.named_parameters() if n.endswith(("A_log", ".D", "a_bias"))}

    def serialize(self, pos: Tensor, batch: Tensor | None = None) -> Serialization:
        """The orders that this layer follows; layers of the same settings can share them."""
        check_pos(pos)
        return self._serialize(pos, batch)

    def serialize_graphs(self, pos: Tensor, graphs: Graphs) -> Serialization:
        """As `serialize`, of positions and graphs that a model has checked."""
        return serialize_graphs(
            pos, graphs, self.axes, bidirectional=self.bidirectional, presorted=self.presorted
        )

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        serialization: Serialization | None = None,
    ) -> Tensor:
        """Run the layer.

        Args:
            x: (N, in_channels) features.
            pos: (N, D) finite positions.
            batch: (N,) the graph of each point, not decreasing.
            serialization: what `serialize` gave for the same pos and batch, to sort only once.

        Returns:
            (N, out_channels).

        Raises:
            ValueError: shapes or devices that do not match, positions that are not finite, a batch
                vector that is unsorted or negative, a serialization of other points or axes.
            TypeError: x or pos not floating point, batch not integer.
        """
        if serialization is None:
            check_pos(pos)
        in_proj = self.in_proj
        check_features(x, pos, in_proj.in_channels)
        if serialization is None:
            serialization = self._serialize(pos, batch)
        self._check_serialization(serialization, x.shape[0])
        u, z = in_proj(x).chunk(2, dim=1)
        y = serialization.restore(self._scan(u, serialization))
        return self._gated(self._merge_views(y), z)

    def forward_chunk(
        self, x: Tensor, step: Tensor, state: SelectiveState | None = None
    ) -> tuple[Tensor, SelectiveState]:
        """The next points of one graph, in order, for a layer of one view.

        Args:
            x: (n, in_channels).
            step: (n,) from each point's predecessor, also before this chunk; the first ever is 0.
            state: what the chunk before returned.

        Returns:
            (n, out_channels) and the state after them.

        Raises:
            ValueError: the layer has several views, so that later points act on earlier ones.
        """
        if len(self.axes) != 1 or self.bidirectional:
            raise ValueError("forward_chunk needs a layer of one axis in one direction")
        u, z = self.in_proj(x).chunk(2, dim=1)
        y, after = self.views[0](u.T, self._steps(step), None, state, keep=True)
        return self._gated(self._merge_views(y.T[:, None]), z), after

    def _serialize(self, pos: Tensor, batch: Tensor | None) -> Serialization:
        if self.all_axes and pos.shape[1] != self.dimensions:
            raise ValueError(
                f"pos must have {self.dimensions} columns, as dimensions says, or axes name some "
                f"of them; got shape {tuple(pos.shape)}"
            )
        axes = columns(self.axes, pos) if self.presorted else ()
        return self.serialize_graphs(pos, read_graphs(pos, batch, sorted_axes=axes))

    def _view_count(self) -> int:
        return len(self.axes) * (2 if self.bidirectional else 1)

    def _check_serialization(self, serialization: Serialization, points: int) -> None:
        views = self._view_count()
        if serialization.views != views or serialization.order.numel() != views * points:
            raise ValueError(
                f"serialization must hold {views} views of {points} points, got "
                f"{serialization.views} views, {serialization.order.numel()} places together"
            )

    def _steps(self, step: Tensor) -> Tensor | None:
        if self.step == "learned":
            return None
        return step if self.step == "coordinate" else torch.ones_like(step)

    def _scan(self, u: Tensor, serialization: Serialization) -> Tensor:
        """(N, E) -> (V N, E), in the order of the views."""
        if len(self.views) == 1:
            parts = [serialization]
        else:
            parts = [serialization.view(i) for i in range(serialization.views)]
        out = [
            view(part.arrange(u).T, self._steps(part.step), part.cu_seqlens).T
            for view, part in zip(self.views, parts, strict=True)
        ]
        return out[0] if len(out) == 1 else torch.cat(out)

    def _merge_views(self, y: Tensor) -> Tensor:
        """(N, V, E) -> (N, 1 or V, E)."""
        if self.combine == "concat":
            return y
        if self.score is not None:
            return (self.score(y).softmax(1) * y).sum(1, keepdim=True)
        if y.shape[1] == 1:
            return y
        return y.mean(1, keepdim=True) if self.combine == "mean" else y.sum(1, keepdim=True)

    def _gated(self, y: Tensor, z: Tensor) -> Tensor:
        """(N, 1 or V, E) and the gate (N, E) -> (N, out_channels)."""
        return self.out_proj((y * F.silu(z).to(y.dtype)[:, None]).flatten(1))

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"axes={self.axes}, step={self.step!r}, combine={self.combine!r}, "
            f"bidirectional={self.bidirectional})"
        )


def _choose(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {value!r}")
