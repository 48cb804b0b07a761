"""The selective state-space model of a view: Mamba's, with a state that decays over the step.

Letters: E inner channels, K states, R rank of delta, W filter taps, L places.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenfall_kernels import causal_conv1d, selective_scan

from .linear import is_plain_linear


class SelectiveState(NamedTuple):
    """The state of a view between chunks: (1, E, W - 1) past inputs and (1, E, K) states."""

    conv: Tensor | None
    ssm: Tensor


class SelectiveView(nn.Module):
    r"""Convolution, projections and scan along one order.

    .. math::
        \bar u &= \mathrm{silu}(\mathrm{conv}(u)), \qquad (\delta, B, C) = W_x \bar u \\
        h_k &= e^{s\,x_k A} \, h_{k-1} + \Delta_k B_k \bar u_k,
            \qquad \Delta_k = \mathrm{softplus}(W_\Delta \delta_k + b_\Delta) \\
        y_k &= C_k \cdot h_k + D \bar u_k

    with the step :math:`x_k`, its scale :math:`s = \mathrm{softplus}(a)` per channel and
    :math:`A = -e^{A_{log}}`. Without a step, :math:`\Delta_k` replaces :math:`s\,x_k`: plain Mamba.

    Source: arXiv 2411.12603 for the decay, arXiv 2312.00752 for the rest.
    """

    def __init__(
        self,
        channels: int,
        d_state: int,
        d_conv: int,
        dt_rank: int,
        length_scale: tuple[float, float] | None,
        discretization: str,
    ) -> None:
        super().__init__()
        self.channels, self.d_state, self.d_conv, self.dt_rank = channels, d_state, d_conv, dt_rank
        self.length_scale, self.discretization = length_scale, discretization
        if d_conv:
            self.conv1d = nn.Conv1d(channels, channels, d_conv, groups=channels)
        self.x_proj = nn.Linear(channels, dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(dt_rank, channels)
        self.A_log = nn.Parameter(torch.empty(channels, d_state))
        self.D = nn.Parameter(torch.empty(channels))
        if length_scale is not None:
            self.a_bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Mamba's initialisation; memory lengths are log-uniform in `length_scale`."""
        if self.d_conv:
            self.conv1d.reset_parameters()
        self.x_proj.reset_parameters()
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        self.dt_proj.bias.copy_(inverse_softplus(_log_uniform(self.channels, 1e-3, 1e-1)))
        self.A_log.copy_(torch.arange(1, self.d_state + 1).log().expand(self.channels, -1))
        self.D.fill_(1)
        if self.length_scale is not None:
            self.a_bias.copy_(inverse_softplus(1 / _log_uniform(self.channels, *self.length_scale)))

    def forward(
        self,
        u: Tensor,
        step: Tensor | None,
        cu_seqlens: Tensor | None = None,
        state: SelectiveState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, SelectiveState]:
        """(E, L) inputs and (L,) steps to (E, L) outputs, and with return_state the final state."""
        past = None if state is None else state.conv
        conv_state = None
        if self.d_conv:
            conv1d = self.conv1d
            u, conv_state = causal_conv1d(
                u[None], conv1d.weight[:, 0].to(u.dtype), conv1d.bias.to(u.dtype),
                initial_state=past, return_final_state=True, activation="silu",
                cu_seqlens=cu_seqlens,
            )  # fmt: skip
            u = u[0]
        else:
            u = F.silu(u)
        sizes = [self.dt_rank, self.d_state, self.d_state]
        delta, B, C = self.x_proj(u.T).split(sizes, 1)
        delta, delta_bias = self._delta(delta)
        out, last = selective_scan(
            u[None], delta.T[None], -_wide(self.A_log).exp(),
            B.T[None], C.T[None], _wide(self.D), delta_bias=delta_bias,
            delta_softplus=True, return_last_state=True,
            step=None if step is None else step[None],
            step_scale=None if step is None else F.softplus(_wide(self.a_bias)),
            discretization=self.discretization,
            initial_state=None if state is None else state.ssm, cu_seqlens=cu_seqlens,
        )  # fmt: skip
        return (out[0], SelectiveState(conv_state, last)) if return_state else out[0]

    def _delta(self, low: Tensor) -> tuple[Tensor, Tensor | None]:
        """(L, R) to delta before the softplus, (L, E), and the bias that the scan adds to it.

        The scan adds it in float32. A quantised layer, or one with an adapter, adds its own.
        """
        if is_plain_linear(self.dt_proj):
            return F.linear(low, self.dt_proj.weight), _wide(self.dt_proj.bias)
        return self.dt_proj(low), None


def inverse_softplus(values: Tensor) -> Tensor:
    """The inverse of softplus for values > 0, accurate for small and large values."""
    return values + torch.log(-torch.expm1(-values))


def _wide(parameter: Tensor) -> Tensor:
    """The parameter in float32 or float64: half precision is too coarse for rates and skips."""
    return parameter if parameter.dtype == torch.float64 else parameter.float()


def _log_uniform(count: int, low: float, high: float) -> Tensor:
    return torch.empty(count).uniform_(math.log(low), math.log(high)).exp()
