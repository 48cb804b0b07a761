"""ssd_scan: the recurrence of Mamba-2, state-space duality, over whole sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall.backends import REFERENCE

from ...common.dispatch import choose
from ...common.sequences import check_cu_seqlens, check_sequence_ends
from .checks import check_limit, check_signals
from .op import ssd_scan_op
from .reference import scan, step_size

__all__ = ["ssd_scan"]


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    return_last_state: bool = False,
    *,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Run the recurrence of Mamba-2 over whole sequences.

    A head has one decay and a state :math:`h`, (channels, states). With :math:`\Delta_t` = dt +
    dt_bias, after softplus if ``dt_softplus``, and limited to ``dt_limit``:

    .. math::
        h_t &= e^{\Delta_t A} h_{t-1} + \Delta_t x_t B_t^\top \\
        y_t &= \bigl(h_t C_t + D x_t\bigr) \, \mathrm{silu}(z_t)

    In a chunk of steps this is a product of matrices, :math:`(C B^\top \odot L) \, x` with
    :math:`L_{ts} = \Delta_s e^{A (\Delta_{s+1} + \dots + \Delta_t)}` for s <= t, so nearly all of
    its time is spent in matrix products.

    Args:
        x: (batch, length, heads, channels), or (1, rows, heads, channels) with ``cu_seqlens``.
        dt: (batch, length, heads), the step size before bias, softplus and limits.
        A: (heads,), usually negative.
        B: (batch, length, groups, states); a group is heads / groups neighbouring heads.
        C: as B.
        D: (heads,) or (heads, channels), the skip connection.
        z: (batch, length, heads, channels), the gate.
        dt_bias: (heads,).
        dt_softplus: whether dt goes through softplus.
        return_last_state: also return the last state.
        dt_limit: the lowest and the highest step size.
        initial_state: (sequences, heads, channels, states); None means zeros.
        cu_seqlens: (sequences + 1,) integers, the bounds of packed sequences. Each sequence has its
            own initial state.

    Returns:
        y, (batch, length, heads, channels) in the dtype of x; with ``return_last_state`` also the
        last state, (sequences, heads, channels, states), float32 (float64 for float64 x). Both are
        differentiable.

    Memory for training: the inputs and one state a chunk of 64 steps. The rest is computed again in
    the backward pass, on the CPU with float32 gradients of B and C for each thread. No array has
    length x length, or length x channels x states elements.

    On a GPU, products of bfloat16 and float16 signals are TF32 where the GPU has it, with float32
    sums. Those of float32 signals are, too, if PyTorch's setting for products of float32 allows it.

    The values of cu_seqlens are checked where reading them is free, on the CPU.

    Raises:
        ValueError: a shape, group, device, dt_limit or cu_seqlens is wrong.
        TypeError: an argument is not a real floating point tensor, or cu_seqlens is not int32 or
            int64.
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference".

    Second derivatives are those of the reference: a backward pass with ``create_graph=True``
    computes the scan once more in plain PyTorch.

    Source: Dao and Gu, "Transformers are SSMs: generalized models and efficient algorithms through
    structured state space duality", 2024, arXiv 2405.21060.
    """
    optional = {"D": D, "z": z, "dt_bias": dt_bias, "initial_state": initial_state}
    check_signals(x, dt, A, B, C, optional)
    limit = check_limit(dt_limit)
    batch, length, heads, channels = x.shape
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, x, "x", "(1, rows, heads, channels)")
        if cu_seqlens.device != x.device:
            check_sequence_ends(cu_seqlens, length)
            cu_seqlens = cu_seqlens.to(x.device)
    sequences = batch if cu_seqlens is None else cu_seqlens.numel() - 1
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    shape = (sequences, heads, channels, B.shape[3])
    if initial_state is None:
        initial_state = x.new_zeros(shape, dtype=dtype)
    elif tuple(initial_state.shape) != shape:  # wrong cu_seqlens can be the cause: report them
        check_sequence_ends(cu_seqlens, length)
        raise ValueError(
            "initial_state must have shape (sequences, heads, channels, states) = "
            f"{shape}, got {tuple(initial_state.shape)}"
        )
    step = step_size(dt, dt_bias, dt_softplus, limit, dtype)
    if D is None:
        D = x.new_zeros(heads, channels, dtype=dtype)
    elif D.dim() == 1:
        D = D[:, None].expand(heads, channels)
    y, last = _run(x, step, step * A.to(dtype), B, C, D, z, initial_state.to(dtype), cu_seqlens)
    return (y, last) if return_last_state else y


def _run(*arguments: Any) -> tuple[Tensor, Tensor]:
    """y and the last state; the arguments are those of reference.scan."""
    choice = choose("ssd_scan", [a for a in arguments if isinstance(a, Tensor)])
    cu_seqlens = arguments[8]
    check_sequence_ends(cu_seqlens, arguments[0].shape[1], choice.backend)
    if choice.module is None:
        return ssd_scan_op(*arguments, choice.backend, choice.differentiable)[:2]
    if choice.backend == REFERENCE:
        return scan(*arguments)
    return choice.module.forward(*arguments, False)[:2]
