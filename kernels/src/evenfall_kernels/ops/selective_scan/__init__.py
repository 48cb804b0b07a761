"""selective_scan: the recurrence of Mamba and of STREAM over whole sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.dispatch import REFERENCE, choose
from ...common.sequences import check_cu_seqlens
from .checks import check_options, check_signals, check_step, want
from .inputs import by_group, constant_weight
from .op import selective_scan_op
from .reference import scan

__all__ = ["selective_scan"]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    *,
    step: Tensor | None = None,
    step_scale: Tensor | None = None,
    discretization: str = "mamba",
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Run a selective state-space model over whole sequences.

    For every channel d and state n, with :math:`\Delta_k` = delta + delta_bias, through softplus
    where asked, and :math:`\tau_k` = step * step_scale where a step is given, else
    :math:`\Delta_k`:

    .. math::
        h_k &= e^{\tau_k A} h_{k-1} + w_k B_k u_k \\
        y_k &= \bigl(\textstyle\sum_n C_k h_k + D u_k\bigr) \, \mathrm{silu}(z_k)

    with the factor of the input by ``discretization``:

    - ``"mamba"``: :math:`w_k = \Delta_k`
    - ``"zoh"``: :math:`w_k = (e^{\Delta_k A} - 1) / A`, the zero-order hold
    - ``"dirac"``: :math:`w_k = 1`, an impulse at every step
    - ``"async"``: :math:`w = (e^{s A} - 1) / A` with s = step_scale, a hold over one unit of time

    The first ten arguments are those of mamba_ssm's ``selective_scan_fn``.

    Args:
        u: (batch, channels, length), or (1, channels, rows) together with ``cu_seqlens``.
        delta: (batch, channels, length), the step size before bias and softplus.
        A: (channels, states), usually negative; 1 to 256 states.
        B: (batch, states, length), or (batch, groups, states, length), where channels are shared
            out over the groups in order. (channels, states) means constant in time, and costs as
            much memory and time as a group for each channel.
        C: as B.
        D: (channels,), the skip connection.
        z: (batch, channels, length), the gate.
        delta_bias: (channels,).
        delta_softplus: whether delta goes through softplus.
        return_last_state: also return the last state.
        step: (batch, length), not negative: the time since the step before, in the units of your
            choice. It replaces delta in the decay, nowhere else. A step of 0 does not decay.
        step_scale: (channels,), in 1 / the unit of step; ones where None.
        discretization: "mamba", "zoh", "dirac" or "async".
        initial_state: (sequences, channels, states); zeros where None.
        cu_seqlens: (sequences + 1,) integers: packed sequences start and end here; each starts
            from its own initial state.

    Returns:
        y, (batch, channels, length) in u's dtype; with ``return_last_state`` also the last state,
        (sequences, channels, states), float32 (float64 for float64 u). Both are differentiable.

    Memory kept for training: the inputs and at most one state in every 32 steps; the backward pass
    computes the other states again.

    The values of step are checked in eager mode on the CPU, those of cu_seqlens on the CPU; looking
    at them elsewhere would wait for the GPU. NaN and infinity in other arguments are no error: they
    pass through as in PyTorch's arithmetic.

    Raises:
        ValueError: a shape, group, device, step or cu_seqlens that does not fit.
        TypeError: integer or complex tensors, or no tensor where one is wanted.
        BackendError: torch.func's transforms or forward mode with a backend other than
            "reference", which alone has them, as it has second derivatives.

    Source: Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023,
    arXiv 2312.00752; the step is STREAM's, arXiv 2411.12603.
    """
    others = {
        "D": D, "z": z, "delta_bias": delta_bias, "step": step, "step_scale": step_scale,
        "initial_state": initial_state,
    }  # fmt: skip
    check_signals(u, delta, A, B, C, others)
    check_options(discretization, step, step_scale)
    if step is not None:
        check_step(step)
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, u, "u")
        cu_seqlens = cu_seqlens.to(u.device)
    channels, states = A.shape
    sequences = u.shape[0] if cu_seqlens is None else cu_seqlens.numel() - 1
    state_dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
    if initial_state is None:
        initial_state = u.new_zeros(sequences, channels, states, dtype=state_dtype)
    else:
        shape = (sequences, channels, states)
        want("initial_state", initial_state, shape, "sequences, channels, states")

    if step_scale is None:
        step_scale = A.new_ones(channels)
    y, last = _run(
        u, delta, A, *by_group(B, C, u),
        A.new_zeros(channels) if D is None else D,
        z,
        A.new_zeros(channels) if delta_bias is None else delta_bias,
        step, step_scale,
        constant_weight(discretization, A, step_scale, state_dtype),
        initial_state.to(state_dtype), cu_seqlens, delta_softplus, discretization == "zoh",
    )  # fmt: skip
    return (y, last) if return_last_state else y


def _run(*arguments: Any) -> tuple[Tensor, Tensor]:
    """y and the last state; the arguments are those of reference.scan."""
    choice = choose("selective_scan", [a for a in arguments if isinstance(a, Tensor)])
    if choice.module is None:
        return selective_scan_op(*arguments, choice.backend, choice.differentiable)[:2]
    if choice.backend == REFERENCE:
        return scan(*arguments)
    return choice.module.forward(*arguments, False)[:2]
