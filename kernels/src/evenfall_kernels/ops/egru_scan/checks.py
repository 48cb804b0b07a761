"""Argument checks of egru_scan."""

from __future__ import annotations

from torch import Tensor

VARIANTS = ("released", "paper")


def _want_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}")


def _want(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")


def check_weights(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
) -> None:
    """Check that all are floating point tensors on one device, and check their shapes."""
    arguments = {
        "x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias,
        "recurrent_bias": recurrent_bias, "threshold": threshold,
    }  # fmt: skip
    for name, tensor in arguments.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}, but x is on {x.device}")
    if x.dim() != 3:
        raise ValueError(f"x must have shape (batch, time, input), got {tuple(x.shape)}")
    if threshold.dim() != 1:
        raise ValueError(f"threshold must have shape (units,), got {tuple(threshold.shape)}")
    units = threshold.numel()
    _want("kernel", kernel, (x.shape[-1], 3 * units))
    _want("recurrent_kernel", recurrent_kernel, (units, 3 * units))
    _want("bias", bias, (3 * units,))
    _want("recurrent_bias", recurrent_bias, (3 * units,))


def check_state(state: tuple[Tensor, Tensor], sequences: int, units: int, x: Tensor) -> None:
    """Check that initial_state is (y, h), each (sequences, units)."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"initial_state must be a pair (y, h), got {type(state).__name__}")
    for name, tensor in zip(("initial_state's y", "initial_state's h"), state, strict=True):
        _want_tensor(name, tensor)
        _want(name, tensor, (sequences, units))
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}, but x is on {x.device}")


def check_mask(mask: Tensor, recurrent_kernel: Tensor) -> None:
    """Check that dropconnect_mask has the shape and device of recurrent_kernel."""
    _want_tensor("dropconnect_mask", mask)
    _want("dropconnect_mask", mask, tuple(recurrent_kernel.shape))
    if mask.device != recurrent_kernel.device:
        raise ValueError(
            f"dropconnect_mask is on {mask.device}, but x is on {recurrent_kernel.device}"
        )


def check_cu_seqlens(cu_seqlens: Tensor, x: Tensor) -> None:
    """Check the shape and dtype of cu_seqlens, and that x (1, rows, input) is one row of texts."""
    _want_tensor("cu_seqlens", cu_seqlens)
    if x.shape[0] != 1:
        raise ValueError(f"cu_seqlens needs x of shape (1, rows, input), got {tuple(x.shape)}")
    if cu_seqlens.dim() != 1 or cu_seqlens.numel() < 1 or cu_seqlens.is_floating_point():
        raise ValueError(
            f"cu_seqlens must be a 1-D integer tensor, got {cu_seqlens.dtype} "
            f"of shape {tuple(cu_seqlens.shape)}"
        )


def check_bounds(cu_seqlens: Tensor, rows: int) -> None:
    """Check that cu_seqlens starts at 0, does not decrease, and ends at the number of rows."""
    ends = cu_seqlens.tolist()
    decreases = any(ends[i] > ends[i + 1] for i in range(len(ends) - 1))
    if ends[0] != 0 or ends[-1] != rows or decreases:
        got = ends if len(ends) <= 8 else f"{ends[:3]} ... {ends[-3:]}"
        raise ValueError(
            f"cu_seqlens must start at 0, not decrease, and end at {rows} (rows of x), got {got}"
        )


def check_options(zoneout: float, variant: str, dampening: float, support: float) -> None:
    """Check the ranges of the scalar options."""
    if not 0 <= zoneout < 1:
        raise ValueError(f"zoneout must be in [0, 1), got {zoneout}")
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")
    for name, value in (("dampening", dampening), ("support", support)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be finite and not negative, got {value}")
