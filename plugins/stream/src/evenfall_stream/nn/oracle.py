r"""The sum over all pairs that a StreamConv computes, without a scan: O(N^2), for tests and
pictures.

Letters: N points, E inner channels, K states, V views (an axis in one direction), W filter taps.
For each view, the kernel between every two points is computed from their coordinates, in the dtype
of the layer (use float64 for an exact reference).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .conv import StreamConv
from .selective import SelectiveView


class PairTerms(NamedTuple):
    """One view of one graph, with its points in input order.

    Attributes:
        kernel: (N, N, E) the weight of the input of point j in the output of point i, with the
            skip connection.
        inputs: (N, E) the inputs of the points after the convolution.
    """

    kernel: Tensor
    inputs: Tensor


def all_pairs(conv: StreamConv, x: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
    r"""The output of `conv`, as a sum over all pairs of points.

    .. math::
        \mathbf{y}_i = \sum_{j \preceq i} \mathbf{C}_i \, e^{\mathbf{A} (t_i - t_j)}
            \, \mathbf w_j \mathbf{B}_j \mathbf{u}_j + \mathbf{D} \mathbf{u}_i

    where :math:`t` is the coordinate times the step's scale, or the sum of the learned steps, and
    :math:`\mathbf w` depends on the discretization. Time and memory are O(N^2 E) per graph and
    view.

    Args:
        conv: a layer with any settings.
        x: (N, in_channels).
        pos: (N, D).
        batch: (N,) the graph of each point, in any order.

    Returns:
        (N, out_channels), differentiable.
    """
    graph_of = pos.new_zeros(len(pos), dtype=torch.long) if batch is None else batch
    u, z = conv.in_proj(x).chunk(2, 1)
    rows, parts = [u.new_zeros(0, dtype=torch.long)], []
    for graph in graph_of.unique():
        members = (graph_of == graph).nonzero()[:, 0]
        rows.append(members)
        terms = pair_terms(conv, u[members], pos[members])
        views = [torch.einsum("ije,je->ie", term.kernel, term.inputs) for term in terms]
        parts.append(torch.stack(views, 1))
    place = torch.cat(rows).argsort()
    y = torch.cat([u[:0, None].expand(0, _views(conv), -1), *parts])[place]
    return conv.out_proj((_combine(conv, y) * F.silu(z)[:, None]).flatten(1))


@torch.no_grad()
def influence(conv: StreamConv, x: Tensor, pos: Tensor, batch: Tensor | None, point: int) -> Tensor:
    r"""The influence of each point on the point `point`.

    .. math:: s_j = \Bigl\lVert \sum_a \mathbf{C}_i \, e^{\mathbf{A} (t_i - t_j)} \,
        \mathbf w_j \mathbf{B}_j \mathbf{u}_j \Bigr\rVert

    over the inner channels, summed over all views for any `combine`, without the skip connection.

    Args:
        conv: the layer.
        x: (N, in_channels).
        pos: (N, D).
        batch: (N,) the graph of each point.
        point: i.

    Returns:
        (N,), 0 for points of other graphs.

    Raises:
        ValueError: point is out of range.
    """
    if not 0 <= point < len(pos):
        raise ValueError(f"point must be between 0 and {len(pos) - 1}, got {point}")
    same = torch.ones(len(pos), dtype=torch.bool) if batch is None else batch == batch[point]
    members = same.nonzero()[:, 0].to(pos.device)
    i = int((members == point).nonzero())
    u = conv.in_proj(x[members]).chunk(2, 1)[0]
    terms = pair_terms(conv, u, pos[members], target=i, skip=False)
    total = sum(term.kernel[0] * term.inputs for term in terms)
    return u.new_zeros(len(pos)).index_put((members,), total.norm(dim=1))


def pair_terms(
    conv: StreamConv, u: Tensor, pos: Tensor, target: int | None = None, skip: bool = True
) -> list[PairTerms]:
    """The kernel of each view for one graph; with `target` only the row of that point."""
    terms = []
    for number, (axis, sign) in enumerate(_directions(conv)):
        view = conv.views[number if len(conv.views) > 1 else 0]
        order = _order(pos, axis, conv.presorted)
        order = order if sign > 0 else order.flip(0)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        coordinate = {"coordinate": sign * pos[:, axis], "uniform": rank, "learned": None}
        inputs = _convolve(view, u, order, rank)
        kernel = _kernel(view, inputs, coordinate[conv.step], order, rank, target)
        if skip:
            kernel = kernel + torch.eye(len(u), device=u.device)[..., None] * view.D
        terms.append(PairTerms(kernel, inputs))
    return terms


def _kernel(
    view: SelectiveView, u: Tensor, coordinate: Tensor | None, order: Tensor, rank: Tensor,
    target: int | None,
) -> Tensor:  # fmt: skip
    """(N or 1, N, E): sum over states of C_i exp(A (t_i - t_j)) w_j B_j for all j not after i."""
    delta, B, C = view.x_proj(u).split([view.dt_rank, view.d_state, view.d_state], 1)
    delta = F.softplus(view.dt_proj(delta))  # (N, E)
    A = -view.A_log.exp()
    if coordinate is None:
        time = delta[order].cumsum(0)[rank]
    else:
        # Differences of float64 coordinates are taken in float64.
        dtype = torch.promote_types(coordinate.dtype, u.dtype)
        time = coordinate[:, None].to(dtype) * F.softplus(view.a_bias).to(dtype)
    input_weight = _weight(view, delta, A) * B[:, None]  # (N, E, K)
    rows = slice(None) if target is None else slice(target, target + 1)
    causal = rank[rows, None] >= rank
    distance = (time[rows, None] - time).to(u.dtype)
    distance = distance * causal[..., None]  # negative distances would overflow in exp
    kernel = distance.new_zeros(distance.shape)
    for k in range(view.d_state):
        decay = torch.exp(distance * A[:, k])
        kernel = kernel + C[rows, None, None, k] * decay * input_weight[..., k]
    return kernel * causal[..., None]


def _weight(view: SelectiveView, delta: Tensor, A: Tensor) -> Tensor:
    """The factor of B u in the chosen discretization, (N, E, 1 or K)."""
    if view.discretization == "mamba":
        return delta[..., None]
    if view.discretization == "dirac":
        return torch.ones_like(delta)[..., None]
    duration = F.softplus(view.a_bias) if view.discretization == "async" else delta
    return torch.expm1(duration[..., None] * A).div(A).expand(*delta.shape, -1)


def _convolve(view: SelectiveView, u: Tensor, order: Tensor, rank: Tensor) -> Tensor:
    """silu of the causal convolution along `order`, (N, E) in input order."""
    if not view.d_conv:
        return F.silu(u)
    padded = F.pad(u[order], (0, 0, view.d_conv - 1, 0))
    taps = [padded[w : w + len(u)] * view.conv1d.weight[:, 0, w] for w in range(view.d_conv)]
    return F.silu(sum(taps) + view.conv1d.bias)[rank]


def _order(pos: Tensor, axis: int, presorted: bool) -> Tensor:
    """The points sorted by one coordinate; ties are sorted by all coordinates, first to last."""
    if presorted:
        return torch.arange(len(pos), device=pos.device)
    rows = pos.detach().tolist()
    keys = sorted(range(len(rows)), key=lambda i: (rows[i][axis], *rows[i]))
    return torch.tensor(keys, dtype=torch.long, device=pos.device)


def _directions(conv: StreamConv) -> list[tuple[int, int]]:
    signs = (1, -1) if conv.bidirectional else (1,)
    return [(axis, sign) for axis in conv.axes for sign in signs]


def _views(conv: StreamConv) -> int:
    return len(_directions(conv))


def _combine(conv: StreamConv, y: Tensor) -> Tensor:
    """(N, V, E) -> (N, 1 or V, E)."""
    if conv.combine == "concat":
        return y
    if conv.score is not None:
        return (conv.score(y).softmax(1) * y).sum(1, keepdim=True)
    return y.sum(1, keepdim=True) / (len(y[0]) if conv.combine == "mean" and len(y) else 1)
