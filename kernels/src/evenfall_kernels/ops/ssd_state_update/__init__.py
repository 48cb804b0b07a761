"""ssd_state_update: one step of ssd_scan, which updates the state in place."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.dispatch import choose
from ..ssd_scan.checks import check_limit, check_signals
from ..ssd_scan.reference import step_size
from . import reference
from .op import ssd_state_update_op

__all__ = ["ssd_state_update"]


def ssd_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    *,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
) -> Tensor:
    """Update a Mamba-2 state by one token and return the output.

        delta = dt + dt_bias, through softplus where dt_softplus, limited to dt_limit
        state[h, p, n] <- exp(delta[h] A[h]) state[h, p, n] + delta[h] x[h, p] B[n]
        out[h, p] = (sum_n C[n] state[h, p, n] + D[h, p] x[h, p]) * silu(z[h, p])

    This is one step of `ssd_scan` with that initial state. Sums are in float32, or float64 if x or
    state is float64. The state is updated in place and can have any strides. If an input requires a
    gradient, autograd records the update, and the step runs in plain PyTorch.

    Args:
        state: (batch, heads, channels, states) floating point; overwritten with the new state.
        x: (batch, heads, channels) floating point.
        dt: (batch, heads), the step size before bias, softplus and limits.
        A: (heads,); negative values make the state decay.
        B: (batch, groups, states); a group is heads / groups neighbouring heads.
        C: as B.
        D: (heads,) or (heads, channels), the skip connection.
        z: (batch, heads, channels), the gate.
        dt_bias: (heads,).
        dt_softplus: whether dt goes through softplus.
        dt_limit: the lowest and the highest step size.

    Returns:
        (batch, heads, channels) in the dtype of x.

    Raises:
        TypeError: an argument is not a floating point tensor.
        ValueError: shapes, devices or limits are wrong.
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference".

    Source: Dao and Gu, "Transformers are SSMs", 2024, arXiv 2405.21060.
    """
    _check(state, x, dt, A, B, C, {"D": D, "z": z, "dt_bias": dt_bias})
    limit = check_limit(dt_limit)
    dtype = torch.float64 if torch.float64 in (x.dtype, state.dtype) else torch.float32
    step = step_size(dt, dt_bias, dt_softplus, limit, dtype)
    if D is not None and D.dim() == 1:
        D = D[:, None].expand(x.shape[1:])
    arguments = state, x, step, step * A.to(dtype), B, C, D, z
    tensors = [tensor for tensor in arguments if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        before = state.clone()  # autograd saves it, and state itself is overwritten
        new_state, out = reference.advance(before, *arguments[1:])
        state.copy_(new_state)
        return out
    choice = choose(
        "ssd_state_update", tensors, torch.float64 if dtype == torch.float64 else x.dtype
    )
    if choice.module is None:
        return ssd_state_update_op(*arguments, choice.backend)
    return choice.module.step(*arguments)


def _check(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
    optional: dict[str, Tensor | None],
) -> None:  # fmt: skip
    """The checks of ssd_scan, for a sequence of one step."""
    tensors = {"state": state, "x": x, "dt": dt, "A": A, "B": B, "C": C, **optional}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) and not (tensor is None and name in optional):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    if not state.is_floating_point():
        raise TypeError(f"state must be real floating point, got {state.dtype}")
    for name, tensor, letters in (
        ("x", x, "batch, heads, channels"), ("dt", dt, "batch, heads"),
        ("B", B, "batch, groups, states"), ("C", C, "batch, groups, states"),
        ("z", optional["z"], "batch, heads, channels"),
    ):  # fmt: skip
        if tensor is not None and tensor.dim() != letters.count(",") + 1:
            raise ValueError(f"{name} must have shape ({letters}), got {tuple(tensor.shape)}")
    z = optional["z"]
    steps = {**optional, "z": None if z is None else z[:, None]}
    check_signals(x[:, None], dt[:, None], A, B[:, None], C[:, None], steps)
    shape = (*x.shape, B.shape[2])
    if tuple(state.shape) != shape or state.device != x.device:
        got = f"{tuple(state.shape)} on {state.device}"
        raise ValueError(
            f"state must have shape (batch, heads, channels, states) = {shape} on {x.device}, "
            f"got {got}"
        )
