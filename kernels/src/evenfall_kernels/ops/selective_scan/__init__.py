"""selective_scan: the recurrence of Mamba and of STREAM over whole sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall.backends import REFERENCE

from ...common.dispatch import choose
from ...common.sequences import check_cu_seqlens, check_sequence_ends
from .checks import check_options, check_shape, check_signals, check_step
from .free_step import scan_with_free_step
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

    For every channel d and state n, with :math:`\Delta_k` = delta + delta_bias, after softplus if
    ``delta_softplus``, and :math:`\tau_k` = step * step_scale with a step, else :math:`\Delta_k`:

    .. math::
        h_k &= e^{\tau_k A} h_{k-1} + w_k B_k u_k \\
        y_k &= \bigl(\textstyle\sum_n C_k h_k + D u_k\bigr) \, \mathrm{silu}(z_k)

    with the input factor given by ``discretization``:

    - ``"mamba"``: :math:`w_k = \Delta_k`
    - ``"zoh"``: :math:`w_k = (e^{\Delta_k A} - 1) / A`, the zero-order hold
    - ``"bilinear"``: :math:`w_k = \Delta_k / (1 - \Delta_k A / 2)`, with
      :math:`(1 + \tau_k A / 2) / (1 - \tau_k A / 2)` in place of :math:`e^{\tau_k A}`
    - ``"dirac"``: :math:`w_k = 1`, an impulse at every step
    - ``"async"``: :math:`w = (e^{s A} - 1) / A` with s = step_scale, a hold over one unit of time

    The first ten arguments are those of mamba_ssm's ``selective_scan_fn``.

    Args:
        u: (batch, channels, length), or (1, channels, rows) with ``cu_seqlens``.
        delta: (batch, channels, length), the step size before bias and softplus.
        A: (channels, states), usually negative.
        B: (batch, states, length), or (batch, groups, states, length), where each group has
            channels / groups neighbouring channels. (channels, states) means constant in time, and
            takes as much memory and time as one group per channel.
        C: as B.
        D: (channels,), the skip connection.
        z: (batch, channels, length), the gate.
        delta_bias: (channels,).
        delta_softplus: whether delta goes through softplus.
        return_last_state: also return the last state.
        step: (batch, length), or (batch, channels, length) for a time of each channel; not
            negative: the time since the previous step, in any unit. It replaces delta in the decay
            only. A step of 0 does not decay.
        step_scale: (channels,), in 1 / unit of step; None means ones.
        discretization: "mamba", "zoh", "bilinear", "dirac" or "async".
        initial_state: (sequences, channels, states); None means zeros.
        cu_seqlens: (sequences + 1,) integers, the bounds of packed sequences. Each sequence has its
            own initial state.

    Returns:
        y, (batch, channels, length) in the dtype of u; with ``return_last_state`` also the last
        state, (sequences, channels, states), float32 (float64 for float64 u). Both are
        differentiable.

    Memory for training: the inputs and at most one state per 32 steps. The backward pass recomputes
    the other states. On a GPU it adds up gradients in any order, so their last bits can differ
    between runs.

    The values of step are checked in eager mode on the CPU, those of cu_seqlens always on the CPU.
    On a GPU a check would wait for the GPU. NaN and infinity in other arguments are not errors:
    they give NaN and infinity as elsewhere in PyTorch.

    Raises:
        ValueError: a shape, group, device, option, step or cu_seqlens is wrong.
        TypeError: an argument is not a real floating point tensor, or cu_seqlens is not int32 or
            int64.
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference", or a call that the forced backend does not have: see below.

    Second derivatives are those of the reference: a backward pass with ``create_graph=True``
    computes the scan once more in plain PyTorch. So do "bilinear" on a GPU, and "zoh" and
    "bilinear" with a step of each channel, with a warning.

    Source: Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023,
    arXiv 2312.00752; the step is STREAM's, arXiv 2411.12603.
    """
    optional = {
        "D": D, "z": z, "delta_bias": delta_bias, "step": step, "step_scale": step_scale,
        "initial_state": initial_state,
    }  # fmt: skip
    check_signals(u, delta, A, B, C, optional)
    check_options(discretization, step, step_scale)
    if step is not None:
        check_step(step)
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, u, "u")
        if cu_seqlens.device != u.device:
            check_sequence_ends(cu_seqlens, u.shape[2])
            cu_seqlens = cu_seqlens.to(u.device)
    channels, states = A.shape
    sequences = u.shape[0] if cu_seqlens is None else cu_seqlens.numel() - 1
    state_dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
    if initial_state is None:
        initial_state = u.new_zeros(sequences, channels, states, dtype=state_dtype)
    else:
        shape = (sequences, channels, states)
        if tuple(initial_state.shape) != shape:  # wrong cu_seqlens can be the cause: report them
            check_sequence_ends(cu_seqlens, u.shape[2])
        check_shape("initial_state", initial_state, shape, "sequences, channels, states")

    if step_scale is None:
        step_scale = A.new_ones(channels)
    factor = discretization if discretization in ("zoh", "bilinear") else "delta"
    arguments = (
        u, delta, A, *by_group(B, C, u),
        A.new_zeros(channels) if D is None else D,
        z,
        A.new_zeros(channels) if delta_bias is None else delta_bias,
        step, step_scale,
        constant_weight(discretization, A, step_scale, state_dtype),
        initial_state.to(state_dtype), cu_seqlens, delta_softplus, factor,
    )  # fmt: skip
    if step is not None and step.dim() == 3 and factor == "delta":
        y, last = scan_with_free_step(_run, *arguments)
    else:
        y, last = _run(*arguments)
    return (y, last) if return_last_state else y


def _run(*arguments: Any) -> tuple[Tensor, Tensor]:
    """y and the last state; the arguments are those of reference.scan."""
    step, factor = arguments[8], arguments[14]
    lacking = {}
    if factor == "bilinear":
        lacking["triton"] = "discretization='bilinear'"
    if step is not None and step.dim() == 3:
        lacking["cpu"] = lacking["triton"] = f"a step of each channel with {factor!r}"
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    choice = choose("selective_scan", tensors, lacking=lacking)
    cu_seqlens = arguments[12]
    check_sequence_ends(cu_seqlens, arguments[0].shape[2], choice.backend)
    if choice.module is None:
        return selective_scan_op(*arguments, choice.backend, choice.differentiable)[:2]
    if choice.backend == REFERENCE:
        return scan(*arguments)
    return choice.module.forward(*arguments, False)[:2]
