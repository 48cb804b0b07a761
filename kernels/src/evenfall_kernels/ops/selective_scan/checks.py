"""Argument checks of selective_scan: each message names the argument, its value, what it wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.dispatch import can_be_read

DISCRETIZATIONS = ("mamba", "zoh", "dirac", "async")
MOST_STATES = 256


def want(name: str, tensor: Tensor, shape: tuple[int, ...], letters: str) -> None:
    """The exact shape."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape ({letters}) = {shape}, got {tuple(tensor.shape)}")


def check_signals(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, others: dict[str, Tensor | None]
) -> None:
    """Shapes, floating dtypes and one device; `others` are D, z, delta_bias, step, step_scale and
    initial_state."""
    named = {"u": u, "delta": delta, "A": A, "B": B, "C": C, **others}
    for name, tensor in named.items():
        if tensor is None and name in others:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be real floating point, got {tensor.dtype}")
        if tensor.device != u.device:
            raise ValueError(f"{name} is on {tensor.device}, but u is on {u.device}")
    if u.dim() != 3:
        raise ValueError(f"u must have shape (batch, channels, length), got {tuple(u.shape)}")
    if A.dim() != 2 or not 1 <= A.shape[1] <= MOST_STATES:
        raise ValueError(
            f"A must have shape (channels, states) with 1 to {MOST_STATES} states, "
            f"got {tuple(A.shape)}"
        )
    batch, channels, length = u.shape
    want("delta", delta, (batch, channels, length), "batch, channels, length")
    want("A", A, (channels, A.shape[1]), "channels, states")
    for name, tensor, shape, letters in (
        ("z", others["z"], (batch, channels, length), "batch, channels, length"),
        ("D", others["D"], (channels,), "channels,"),
        ("delta_bias", others["delta_bias"], (channels,), "channels,"),
        ("step", others["step"], (batch, length), "batch, length"),
        ("step_scale", others["step_scale"], (channels,), "channels,"),
    ):
        if tensor is not None:
            want(name, tensor, shape, letters)
    _check_groups(u, A, B, C)


def _check_groups(u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    batch, channels, length = u.shape
    states = A.shape[1]
    for name, tensor in (("B", B), ("C", C)):
        wanted = (batch, states, length)
        grouped = tensor.dim() == 4 and (tensor.shape[0], *tensor.shape[2:]) == wanted
        if not grouped and tuple(tensor.shape) not in (wanted, (channels, states)):
            raise ValueError(
                f"{name} must have shape (batch, states, length) = {wanted}, "
                f"(batch, groups, states, length) or (channels, states), got {tuple(tensor.shape)}"
            )
    groups = [t.shape[1] if t.dim() == 4 else 1 for t in (B, C) if t.dim() > 2]
    if len(set(groups)) > 1:
        raise ValueError(f"B and C must have the same groups, got {groups[0]} and {groups[1]}")
    if groups and (groups[0] < 1 or channels % groups[0]):
        raise ValueError(f"the groups of B and C must divide {channels} channels, got {groups[0]}")


def check_options(discretization: str, step: Tensor | None, step_scale: Tensor | None) -> None:
    """The discretisation, and that step_scale and async come with a step."""
    if discretization not in DISCRETIZATIONS:
        raise ValueError(f"discretization must be one of {DISCRETIZATIONS}, got {discretization!r}")
    if step is None and step_scale is not None:
        raise ValueError("step_scale needs step, got step=None")
    if step is None and discretization == "async":
        raise ValueError("discretization='async' needs step, got step=None")


def check_step(step: Tensor) -> None:
    """Finite and not negative; looked at only where that costs no synchronisation."""
    if not can_be_read(step) or not step.numel():
        return
    lowest, highest = (float(v) for v in torch.aminmax(step.detach()))
    if not (lowest >= 0 and highest < float("inf")):
        raise ValueError(
            f"step must be finite and not negative, got values from {lowest} to {highest}; "
            "at the border between two sequences reset the state with cu_seqlens"
        )
