"""selective_state_update: one step of a selective scan, which updates the state in place."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.dispatch import choose
from ...common.slots import read_slots
from . import reference
from .op import selective_state_update_op

__all__ = ["selective_state_update"]

_OPTIONAL = ("D", "z", "dt_bias")


def selective_state_update(
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
    state_indices: Tensor | None = None,
) -> Tensor:
    """Update a Mamba state by one token and return the output.

        delta = dt + dt_bias, through softplus where dt_softplus
        state[d, n] <- exp(delta[d] A[d, n]) state[d, n] + delta[d] B[n] x[d]
        out[d] = (sum_n C[n] state[d, n] + D[d] x[d]) * silu(z[d])

    This is one step of `selective_scan` with that initial state. Sums are in float32, or float64
    if x or state is float64. The state is updated in place and can have any strides. If an input
    requires a gradient, autograd records the update, and the step runs in plain PyTorch.

    Args:
        state: (batch, dim, n) floating point; overwritten with the new state. With
            `state_indices` it may have any number of rows.
        x: (batch, dim) floating point.
        dt: (batch, dim) step before bias and softplus.
        A: (dim, n); negative values make the state decay.
        B: (batch, n) or, in groups of dim / groups neighbouring channels, (batch, groups, n).
        C: as B.
        D: (dim,) skip connection.
        z: (batch, dim) gate.
        dt_bias: (dim,).
        dt_softplus: whether delta goes through softplus.
        state_indices: (batch,) integers, the row of state for each element of the batch, each row
            at most once. A negative index marks padding: its output is zero and no row changes.

    Returns:
        (batch, dim) in the dtype of x.

    Raises:
        TypeError: an argument is not a floating point tensor, or indices are not integers.
        ValueError: shapes or devices do not match, or an index is too large or there twice (checked
            on the CPU; on a GPU the output of one that is too large is NaN and no row changes).
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference".

    Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
    arXiv 2312.00752, equation 2; the signature is that of the mamba_ssm package.
    """
    arguments_by_name = {
        "state": state, "x": x, "dt": dt, "A": A, "B": B, "C": C, "D": D, "z": z,
        "dt_bias": dt_bias,
    }  # fmt: skip
    tensors = {
        name: tensor
        for name, tensor in arguments_by_name.items()
        if tensor is not None or name not in _OPTIONAL
    }
    _check(tensors, state_indices is not None)
    slots = None
    if state_indices is not None:
        slots = read_slots("state_indices", state_indices, len(x), state)
    if B.dim() == 2:
        B, C = B.unsqueeze(1), C.unsqueeze(1)
    rest = x, dt, A, B, C, D, z, dt_bias, dt_softplus
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors.values()):
        if slots is not None:
            new_state, out = reference.advance(slots.read(state), *rest)
            slots.write(state, new_state)
            return slots.without_padding(out)
        before = state.clone()  # autograd saves it, and state itself is overwritten
        new_state, out = reference.advance(before, *rest)
        state.copy_(new_state)
        return out
    rows = None if slots is None else torch.where(slots.valid, slots.rows, -1)
    arguments = state, *rest, rows
    dtype = torch.float64 if torch.float64 in (x.dtype, state.dtype) else x.dtype
    choice = choose("selective_state_update", list(tensors.values()), dtype)
    if choice.module is None:
        return selective_state_update_op(*arguments, choice.backend)
    return choice.module.step(*arguments)


def _check(tensors: dict[str, Tensor], by_index: bool) -> None:
    """Check types, shapes and devices; `by_index`: the batch is that of x, not that of state."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}")
    state, B = tensors["state"], tensors["B"]
    if state.dim() != 3:
        raise ValueError(f"state must have shape (batch, dim, n), got {tuple(state.shape)}")
    batch, dim, n = state.shape
    if by_index and tensors["x"].dim():
        batch = len(tensors["x"])
    projections: tuple[int, ...] = (batch, n)
    if B.dim() == 3:
        groups = B.shape[1]
        if groups == 0 or dim % groups:
            raise ValueError(f"the groups of B must divide dim = {dim}, got {groups}")
        projections = (batch, groups, n)
    shapes = {
        "x": (batch, dim), "dt": (batch, dim), "A": (dim, n), "B": projections, "C": projections,
        "D": (dim,), "z": (batch, dim), "dt_bias": (dim,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if name not in tensors:
            continue
        if tuple(tensors[name].shape) != shape:
            got = tuple(tensors[name].shape)
            raise ValueError(f"{name} must have shape {shape} to match state, got {got}")
        if tensors[name].device != state.device:
            raise ValueError(f"{name} is on {tensors[name].device}, but state is on {state.device}")
