"""The event-based GRU in plain PyTorch: the definition that all other backends are tested against.

Dimensions: N rows (all steps of all sequences), B sequences, H units. Gates are in the order z, r,
g. Rows are sorted by time: step t has the next ``batch_sizes[t]`` rows, longest sequence first.
It supports any floating dtype and any order of derivative.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Event(torch.autograd.Function):
    """`event` in reverse mode. torch.compile traces no Function that has a jvp."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, dampening: float, support: float) -> Tensor:
        return (v > 0).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        v, ctx.dampening, ctx.support = inputs
        ctx.save_for_backward(v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (v,) = ctx.saved_tensors
        return grad * ctx.dampening * (1 - ctx.support * v.abs()).clamp_min(0), None, None


class _EventWithTangent(_Event):
    """`event` in both modes."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _Event.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        return _Event.backward(ctx, tangent)[0]


def event(v: Tensor, dampening: float, support: float) -> Tensor:
    r"""The event o = 1[v > 0] with a triangular surrogate derivative.

    .. math:: \psi(v) = d \max(0, 1 - s |v|)
    """
    function = _Event if torch.compiler.is_compiling() else _EventWithTangent
    return function.apply(v, dampening, support)


def step(
    gates_x: Tensor,  # (B, 3H)  x W + b_x
    y: Tensor,  # (B, H)
    h: Tensor,  # (B, H)
    recurrent_kernel: Tensor,  # (H, 3H)
    recurrent_bias: Tensor,  # (3H,)
    threshold: Tensor,  # (H,)
    keep: Tensor | float,
    dampening: float,
    support: float,
    variant: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step: y (B, H), h (B, H) and the cell state c (B, H) before the reset."""
    units = threshold.numel()
    xz, xr, xg = gates_x.split(units, 1)
    if variant == "paper":
        gates = torch.addmm(recurrent_bias[: 2 * units], y, recurrent_kernel[:, : 2 * units])
        z, r = torch.sigmoid(xz + gates[:, :units]), torch.sigmoid(xr + gates[:, units:])
        candidate = (r * y) @ recurrent_kernel[:, 2 * units :] + recurrent_bias[2 * units :]
        g = torch.tanh(xg + candidate)
        c = z * h + (1 - z) * g - y
    else:
        qz, qr, qg = torch.addmm(recurrent_bias, y, recurrent_kernel).split(units, 1)
        z, r = torch.sigmoid(xz + qz), torch.sigmoid(xr + qr)
        g = torch.tanh(xg + r * qg)
        c = z * h + (1 - z) * g
    c = (c - h) * keep + h
    o = event(c - threshold, dampening, support)
    y = o * c
    h = c if variant == "paper" else c - o * threshold
    return y, h, c


def scan(
    gates_x: Tensor,
    recurrent_kernel: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    y0: Tensor,
    h0: Tensor,
    keep: Tensor | None,
    keep_rate: float,
    batch_sizes: list[int],
    dampening: float,
    support: float,
    variant: str = "released",
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps: y (N, H), c (N, H) and the last h (B, H)."""
    y, h = y0, h0
    ys, cs, first = [], [], 0
    for size in batch_sizes:
        rows = slice(first, first + size)
        rate = keep_rate if keep is None else keep[rows].to(gates_x.dtype)
        y_new, h_new, c = step(
            gates_x[rows], y[:size], h[:size], recurrent_kernel, recurrent_bias, threshold,
            rate, dampening, support, variant,
        )  # fmt: skip
        y, h = torch.cat([y_new, y[size:]]), torch.cat([h_new, h[size:]])
        ys.append(y_new)
        cs.append(c)
        first += size
    empty = gates_x[:0, : threshold.numel()]
    return torch.cat([empty, *ys]), torch.cat([empty, *cs]), h


def layer(
    x: Tensor, kernel: Tensor, bias: Tensor, recurrent: tuple[Any, ...], variant: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The input product x W + b_x of all rows, then all steps. It returns what `scan` returns.

    x (N, I), kernel (I, 3H), bias (3H,); `recurrent` are the arguments of `scan` after gates_x.
    """
    recurrent_kernel, recurrent_bias, *rest = recurrent
    dtype = recurrent_bias.dtype
    gates_x = F.linear(x, kernel.t(), bias).to(dtype)
    steps = gates_x, recurrent_kernel.to(dtype), recurrent_bias, *rest, variant
    return scan(*steps)
