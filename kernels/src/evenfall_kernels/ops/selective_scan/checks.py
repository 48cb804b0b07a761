"""Argument checks of selective_scan."""

from __future__ import annotations

import torch
from torch import Tensor

from evenfall.errors import shorten

from ...common.arguments import check_floating
from ...common.dispatch import can_be_read

DISCRETIZATIONS = ("mamba", "zoh", "bilinear", "dirac", "async")


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...], letters: str) -> None:
    """Check for the exact shape; `letters` names its dimensions in the message."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape ({letters}) = {shape}, got {tuple(tensor.shape)}")


def check_signals(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, optional: dict[str, Tensor | None]
) -> None:
    """Check that all are floating point tensors on one device, and check their shapes.

    `optional` has D, z, delta_bias, step, step_scale and initial_state.
    """
    check_floating({"u": u, "delta": delta, "A": A, "B": B, "C": C, **optional}, optional)
    if u.dim() != 3:
        raise ValueError(f"u must have shape (batch, channels, length), got {tuple(u.shape)}")
    if A.dim() != 2 or A.shape[1] < 1:
        raise ValueError(
            f"A must have shape (channels, states) with 1 or more states, got {tuple(A.shape)}"
        )
    batch, channels, length = u.shape
    check_shape("delta", delta, (batch, channels, length), "batch, channels, length")
    check_shape("A", A, (channels, A.shape[1]), "channels, states")
    for name, tensor, shape, letters in (
        ("z", optional["z"], (batch, channels, length), "batch, channels, length"),
        ("D", optional["D"], (channels,), "channels,"),
        ("delta_bias", optional["delta_bias"], (channels,), "channels,"),
        ("step_scale", optional["step_scale"], (channels,), "channels,"),
    ):
        if tensor is not None:
            check_shape(name, tensor, shape, letters)
    step = optional["step"]
    if step is not None and tuple(step.shape) not in ((batch, length), (batch, channels, length)):
        raise ValueError(
            f"step must have shape (batch, length) = {(batch, length)} or (batch, channels, length)"
            f", got {tuple(step.shape)}"
        )
    _check_groups(u, A, B, C)


def _check_groups(u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    batch, channels, length = u.shape
    states = A.shape[1]
    for name, tensor in (("B", B), ("C", C)):
        shape = (batch, states, length)
        grouped = tensor.dim() == 4 and (tensor.shape[0], *tensor.shape[2:]) == shape
        if not grouped and tuple(tensor.shape) not in (shape, (channels, states)):
            raise ValueError(
                f"{name} must have shape (batch, states, length) = {shape}, "
                f"(batch, groups, states, length) or (channels, states), got {tuple(tensor.shape)}"
            )
    groups = [t.shape[1] if t.dim() == 4 else 1 for t in (B, C) if t.dim() > 2]
    if len(set(groups)) > 1:
        raise ValueError(
            f"B and C must have the same number of groups, got {groups[0]} and {groups[1]}"
        )
    if groups and (groups[0] < 1 or channels % groups[0]):
        raise ValueError(
            f"the groups of B and C must divide the {channels} channels, got {groups[0]}"
        )


def check_options(discretization: str, step: Tensor | None, step_scale: Tensor | None) -> None:
    """Check the discretization, and that step_scale and "async" come with a step."""
    if discretization not in DISCRETIZATIONS:
        raise ValueError(
            f"discretization must be one of {DISCRETIZATIONS}, got {shorten(discretization)}"
        )
    if step is None and step_scale is not None:
        raise ValueError("step_scale needs step, got step=None")
    if step is None and discretization == "async":
        raise ValueError("discretization='async' needs step, got step=None")


def check_step(step: Tensor) -> None:
    """Check that step is finite and not negative, where reading it is free."""
    if not can_be_read(step) or not step.numel():
        return
    lowest, highest = (float(v) for v in torch.aminmax(step.detach()))
    if not (lowest >= 0 and highest < float("inf")):
        raise ValueError(
            f"step must be finite and not negative, got values from {lowest} to {highest}; "
            "use cu_seqlens to reset the state between sequences"
        )
