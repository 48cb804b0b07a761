"""Argument checks of ssd_scan."""

from __future__ import annotations

from torch import Tensor

from evenfall.errors import shorten

from ...common.arguments import check_floating

_LETTERS = {
    "dt": "batch, length, heads",
    "A": "heads,",
    "z": "batch, length, heads, channels",
    "dt_bias": "heads,",
}


def check_signals(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, optional: dict[str, Tensor | None]
) -> None:
    """Check that all are floating point tensors on one device, and check their shapes.

    `optional` has D, z, dt_bias and initial_state.
    """
    check_floating({"x": x, "dt": dt, "A": A, "B": B, "C": C, **optional}, optional)
    if x.dim() != 4 or 0 in x.shape[2:]:
        raise ValueError(
            f"x must have shape (batch, length, heads, channels) with at least one head and one "
            f"channel, got {tuple(x.shape)}"
        )
    batch, length, heads, _ = x.shape
    for name, tensor, shape in (
        ("dt", dt, (batch, length, heads)),
        ("A", A, (heads,)),
        ("z", optional["z"], tuple(x.shape)),
        ("dt_bias", optional["dt_bias"], (heads,)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            got = tuple(tensor.shape)
            raise ValueError(f"{name} must have shape ({_LETTERS[name]}) = {shape}, got {got}")
    _check_groups(x, B, C)
    check_skip(optional["D"], *x.shape[2:])


def _check_groups(x: Tensor, B: Tensor, C: Tensor) -> None:
    batch, length, heads, _ = x.shape
    for name, tensor in (("B", B), ("C", C)):
        if tensor.dim() != 4 or tuple(tensor.shape[:2]) != (batch, length):
            raise ValueError(
                f"{name} must have shape (batch, length, groups, states) = ({batch}, {length}, "
                f"groups, states), got {tuple(tensor.shape)}"
            )
    if B.shape != C.shape:
        raise ValueError(
            f"B and C must have the same shape, got {tuple(B.shape)} and {tuple(C.shape)}"
        )
    groups, states = B.shape[2:]
    if states < 1:
        raise ValueError("B must have at least one state, got 0")
    if groups < 1 or heads % groups:
        raise ValueError(f"the groups of B and C must divide the {heads} heads, got {groups}")


def check_skip(D: Tensor | None, heads: int, channels: int) -> None:
    """Check the shape of D."""
    if D is not None and tuple(D.shape) not in ((heads,), (heads, channels)):
        raise ValueError(
            f"D must have shape (heads,) = ({heads},) or (heads, channels) = "
            f"({heads}, {channels}), got {tuple(D.shape)}"
        )


def check_limit(limit: object) -> tuple[float, float]:
    """The two limits of dt as floats, checked."""
    try:
        low, high = (float(value) for value in limit)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ValueError(
            f"dt_limit must be two numbers, (low, high), got {shorten(limit)}"
        ) from None
    if not low <= high:
        raise ValueError(f"dt_limit must be (low, high) with low <= high, got {shorten(limit)}")
    return low, high
