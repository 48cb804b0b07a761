"""StreamConv, a PyTorch Geometric layer: all pairs of points interact, in linear time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenfall.checks import check_choice

from ..checks import check_features, check_pos, check_sizes
from ..graphs import Graphs, read_graphs
from .linear import linear
from .selective import SelectiveState, SelectiveView
from .serialization import Serialization, columns, serialize_graphs

COMBINATIONS = ("sum", "mean", "concat", "attention")
STEPS = ("coordinate", "learned", "uniform")
DISCRETIZATIONS = ("mamba", "zoh", "dirac", "async")


class StreamConv(nn.Module):
    r"""The STREAM layer: a selective state-space model whose step is the coordinate difference.

    From `"STREAM: Spatio-Temporal Recursive Encoding of Asynchronous Modalities"
    <https://arxiv.org/abs/2411.12603>`_. Along each axis :math:`a` of the positions
    :math:`\mathbf p`, every point receives from itself and all earlier points of its graph; ties
    are ordered by the other coordinates:

    .. math::
        \mathbf{y}^{(a)}_i &= \sum_{j \preceq_a i} \mathbf{C}_i \,
            e^{\mathbf{A} \mathbf{s} (p_{i,a} - p_{j,a})} \, \bar{\mathbf{B}}_j \mathbf{u}_j
            + \mathbf{D} \mathbf{u}_i \\
        \mathbf{x}^{\prime}_i &= \mathbf{W}_{out} \Bigl( \bigoplus_a \mathbf{y}^{(a)}_i \odot
            \mathrm{silu}(\mathbf{z}_i) \Bigr), \qquad
            (\mathbf{u}_i, \mathbf{z}_i) = \mathbf{W}_{in} \mathbf{x}_i

    in :math:`O(N)` after sorting. :math:`\mathbf{u}` passes a causal convolution along the axis
    and silu; :math:`\mathbf B_j` and :math:`\mathbf C_i` are linear in the result, and
    :math:`\bar{\mathbf B}_j = \Delta_j \mathbf B_j` with :math:`\Delta_j` the softplus of a linear
    function of it, as in Mamba (for ``discretization="mamba"``). Distances affect only the decay.
    `evenfall_stream.nn.oracle.all_pairs` computes this sum directly.

    The layer is equivariant to permutations of the points of a graph (except among coincident
    points) and invariant to translations. Graphs do not interact.

    Args:
        in_channels: size of each input, or -1 to infer it from the first call.
        out_channels: size of each output.
        axes: the columns of `pos` to scan along; `pos` may have more. None for all.
        dimensions: number of columns of `pos`, if axes is None.
        bidirectional: whether to scan each axis in both directions.
        separate_weights: whether each axis and direction has its own convolution and state-space
            model; shared otherwise. The input and output projections are always shared.
        combine: how to combine the axes: "sum", "mean", "concat" or "attention" (softmax weights
            over the axes, from a linear score of each).
        step: the quantity that the state decays over: "coordinate", STREAM's difference;
            "learned", Mamba's own step; "uniform", 1 per point.
        discretization: of the input, "mamba", "zoh", "dirac" or "async", see
            `evenfall_kernels.selective_scan`.
        length_scale: shortest and longest memory at initialisation, for the slowest state of each
            channel, in units of `pos` (in points with the uniform step). (0.1, 2) suits clouds in
            the unit sphere, (20, 2000) events in milliseconds.
        d_state: states per channel.
        d_conv: taps of the causal convolution; 0 for none.
        expand: inner channels per output channel.
        dt_rank: rank of the projection to delta; None for out_channels / 16, rounded up.
        presorted: whether the points are already sorted along the axes, as events are; the layer
            then does not sort, and a coordinate that decreases is an error.
        bias: whether the input and output projections have a bias.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F_{in})`, positions
          :math:`(|\mathcal{V}|, D)`, batch vector :math:`(|\mathcal{V}|)` *(optional)*
        - **output:** node features :math:`(|\mathcal{V}|, F_{out})`

    Raises:
        ValueError: an unknown option, or a size out of range.
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
        check_choice("combine", combine, COMBINATIONS)
        check_choice("step", step, STEPS)
        check_choice("discretization", discretization, DISCRETIZATIONS)
        check_sizes(
            out_channels=out_channels,
            dimensions=dimensions,
            d_state=d_state,
            expand=expand,
            dt_rank=1 if dt_rank is None else dt_rank,
        )
        if d_conv < 0:
            raise ValueError(f"d_conv must not be negative, got {d_conv}")
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
            raise ValueError(f"axes must be columns of pos, 0 or above, got {axes}")
        self.dimensions, self.bidirectional, self.presorted = dimensions, bidirectional, presorted
        self.combine, self.step = combine, step
        shortest, longest = length_scale
        self.length_scale = (shortest, longest)
        inner = expand * out_channels
        self.inner = inner
        self.in_proj = linear(in_channels, 2 * inner, bias)
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
        parts = views if combine == "concat" else 1
        self.out_proj = linear(parts * inner, out_channels, bias)

    def reset_parameters(self) -> None:
        """Reinitialise all parameters."""
        self.in_proj.reset_parameters()
        self.out_proj.reset_parameters()
        if self.score is not None:
            self.score.reset_parameters()
        for view in self.views:
            view.reset_parameters()

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that set time scales, which weight decay would distort."""
        return {n for n, _ in self.named_parameters() if n.endswith(("A_log", ".D", "a_bias"))}

    def serialize(
        self, pos: Tensor, batch: Tensor | None = None, batch_size: int | None = None
    ) -> Serialization:
        """The orders along which this layer scans; layers with the same settings can share them."""
        check_pos(pos)
        return self._serialize(pos, batch, batch_size)

    def serialize_graphs(self, pos: Tensor, graphs: Graphs) -> Serialization:
        """Like `serialize`, without checks of positions and graphs."""
        return serialize_graphs(
            pos, graphs, self.axes, bidirectional=self.bidirectional, presorted=self.presorted
        )

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        serialization: Serialization | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Run the layer.

        Args:
            x: (N, in_channels) features.
            pos: (N, D) finite positions.
            batch: (N,) the graph of each point, not decreasing.
            serialization: the result of `serialize` for the same pos and batch, to sort only once.
            batch_size: number of graphs, so that it need not be read from a GPU, or by
                torch.compile, which would break its graph for it; unused with a serialization.

        Returns:
            (N, out_channels).

        Raises:
            ValueError: shapes or devices do not match, pos is not finite, batch is unsorted or
                negative, or the serialization is of other points or axes.
            TypeError: x or pos is not floating point, or batch is not integer.
        """
        if serialization is None:
            check_pos(pos)
        check_features(x, pos, self._known_in_channels())
        if serialization is None:
            serialization = self._serialize(pos, batch, batch_size)
        self._check_serialization(serialization, x.shape[0])
        u, z = self.in_proj(x).chunk(2, dim=1)
        y = serialization.restore(self._scan(u, serialization))
        return self._project_out(self._merge_views(y), z)

    def forward_chunk(
        self, x: Tensor, step: Tensor, state: SelectiveState | None = None
    ) -> tuple[Tensor, SelectiveState]:
        """Continue with the next points of one graph, in order; for a layer with one view.

        Args:
            x: (n, in_channels).
            step: (n,) distance of each point to its predecessor, which for the first point is in
                the previous chunk; 0 for the first point of all.
            state: the state that the previous chunk returned.

        Returns:
            (n, out_channels) and the state after them.

        Raises:
            ValueError: the layer has several views, so that later points affect earlier ones.
        """
        if len(self.axes) != 1 or self.bidirectional:
            raise ValueError(
                "forward_chunk needs a layer with one axis and one direction, "
                f"got axes={self.axes}, bidirectional={self.bidirectional}"
            )
        u, z = self.in_proj(x).chunk(2, dim=1)
        y, final_state = self.views[0](u.T, self._steps(step), None, state, return_state=True)
        return self._project_out(self._merge_views(y.T[:, None]), z), final_state

    def _serialize(
        self, pos: Tensor, batch: Tensor | None, batch_size: int | None
    ) -> Serialization:
        if self.all_axes and pos.shape[1] != self.dimensions:
            raise ValueError(
                f"pos must have dimensions = {self.dimensions} columns, got shape "
                f"{tuple(pos.shape)}; pass axes to use only some columns"
            )
        axes = columns(self.axes, pos) if self.presorted else ()
        graphs = read_graphs(pos, batch, batch_size, sorted_axes=axes)
        return self.serialize_graphs(pos, graphs)

    def _known_in_channels(self) -> int:
        """The input channels; -1 before the first call of a layer that infers them."""
        return self.in_proj.in_features or -1

    def _view_count(self) -> int:
        return len(self.axes) * (2 if self.bidirectional else 1)

    def _check_serialization(self, serialization: Serialization, points: int) -> None:
        views = self._view_count()
        if serialization.views != views or serialization.order.numel() != views * points:
            raise ValueError(
                f"serialization must have {views} views of {points} points, got "
                f"{serialization.views} views with {serialization.order.numel()} places in total"
            )

    def _steps(self, step: Tensor) -> Tensor | None:
        if self.step == "learned":
            return None
        return step if self.step == "coordinate" else torch.ones_like(step)

    def _scan(self, u: Tensor, serialization: Serialization) -> Tensor:
        """(N, E) in input order -> (V N, E) in the order of the views."""
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

    def _project_out(self, y: Tensor, z: Tensor) -> Tensor:
        """(N, 1 or V, E) and the gate (N, E) -> (N, out_channels)."""
        return self.out_proj((y * F.silu(z).to(y.dtype)[:, None]).flatten(1))

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"axes={self.axes}, step={self.step!r}, combine={self.combine!r}, "
            f"bidirectional={self.bidirectional})"
        )
