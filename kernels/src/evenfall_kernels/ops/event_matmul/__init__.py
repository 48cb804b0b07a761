"""event_matmul: an event vector times a matrix, reading only the rows of units that fired."""

from math import isfinite

import torch
from torch import Tensor

from ...common.dispatch import can_be_read, choose
from .blocks import CompressedBlocks, compress_blocks
from .compressed import Compressed
from .op import event_matmul_dense, event_matmul_rows
from .quantize import quantize_rows
from .rows import CompressedRows, compress_rows

__all__ = [
    "CompressedBlocks",
    "CompressedRows",
    "compress_blocks",
    "compress_rows",
    "event_matmul",
    "quantize_rows",
]

_EVENTS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def event_matmul(
    events: Tensor,
    weight: Tensor | CompressedRows | CompressedBlocks,
    *,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Multiply events with a matrix, reading only the rows of units that fired.

    out[..., o] = bias[o] + sum_{i: events[..., i] != 0} events[..., i] * scale[i] * weight[i, o]

    Work and memory traffic are proportional to the activity of `events`. Weights of silent units
    are skipped (the reference backend reads them). Sums are in float32, or float64 for float64
    events. NaN and infinity in events reach the output; weights must be finite. On a GPU, sums over
    compressed weights are in any order, so their last bits can differ between runs.

    Gradients are exact and dense: a silent unit has a derivative, too. Compressed and int8 weights
    are constants without gradients.

    Args:
        events: (..., I) float32, float64, bfloat16 or float16, mostly zero.
        weight: (I, O) float32, bfloat16, float16, int8, or float64 (only with float64 events), or
            `CompressedRows` or `CompressedBlocks` of that shape. Keep it contiguous: a transposed
            view is copied in full on every call.
        scale: (I,) floating point and finite, one factor per row; required for int8. Its values are
            checked in eager mode on the CPU, where this needs no synchronisation.
            Compressed matrices have their own scale.
        bias: (O,) floating point.

    Returns:
        (..., O) in the dtype of events.

    Raises:
        TypeError: an argument is not a tensor, or its dtype is not one of those above.
        ValueError: shapes or devices do not match, or scale is missing, passed twice or not finite.
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference".
    """
    _check_dtypes(events, weight, scale, bias)
    _check_shapes(events, weight, scale, bias)
    flat = _as_batch(events)
    out = _rows(flat, weight) if isinstance(weight, Compressed) else _dense(flat, weight, scale)
    if bias is not None:
        out = out + bias
        out = out if out.dtype == events.dtype else out.to(events.dtype)
    if events.ndim == 1:
        return out.squeeze(0)
    return out if events.ndim == 2 else out.reshape(*events.shape[:-1], weight.shape[1])


def _as_batch(events: Tensor) -> Tensor:
    """(..., I) -> (N, I), also for I = 0, where reshape could not infer N."""
    if events.ndim == 1:
        return events.unsqueeze(0)
    return events if events.ndim == 2 else events.flatten(0, -2)


def _dense(events: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    tensors = (events, weight) if scale is None else (events, weight, scale)
    choice = choose("event_matmul", tensors)
    if choice.module is None:
        return event_matmul_dense(events, weight, scale, choice.backend)
    return choice.module.forward(events, weight, scale)


def _rows(events: Tensor, rows: Compressed) -> Tensor:
    choice = choose("event_matmul", (events, rows.values))
    matrix = rows.values, rows.columns, rows.row_starts, rows.scale, rows.shape[1]
    if choice.module is None:
        return event_matmul_rows(events, *matrix, choice.backend)
    return choice.module.forward_rows(events, *matrix)


def _check_dtypes(
    events: Tensor, weight: Tensor | Compressed, scale: Tensor | None, bias: Tensor | None
) -> None:
    if not isinstance(weight, Tensor | Compressed):
        raise TypeError(
            "event_matmul: weight must be a Tensor, CompressedRows or CompressedBlocks, got "
            f"{type(weight).__name__}"
        )
    for name, tensor in (("events", events), ("scale", scale), ("bias", bias)):
        if tensor is None and name != "events":
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"event_matmul: {name} must be a Tensor, got {type(tensor).__name__}")
        if tensor.dtype not in _EVENTS:
            raise TypeError(
                f"event_matmul: dtype of {name} must be one of {_EVENTS}, got {tensor.dtype}"
            )
    if isinstance(weight, Compressed):
        return
    if weight.dtype == torch.float64 and events.dtype != torch.float64:
        raise TypeError(f"event_matmul: a float64 weight needs float64 events, got {events.dtype}")
    if weight.dtype not in _EVENTS and weight.dtype != torch.int8:
        raise TypeError(
            f"event_matmul: dtype of weight must be one of {(*_EVENTS, torch.int8)}, "
            f"got {weight.dtype}"
        )


def _check_shapes(
    events: Tensor, weight: Tensor | Compressed, scale: Tensor | None, bias: Tensor | None
) -> None:
    if len(weight.shape) != 2:
        raise ValueError(f"event_matmul: weight must have shape (I, O), got {tuple(weight.shape)}")
    n_units, n_out = weight.shape
    if events.ndim == 0 or events.shape[-1] != n_units:
        raise ValueError(
            f"event_matmul: events must have shape (..., {n_units}) to match weight of shape "
            f"{(n_units, n_out)}, got {tuple(events.shape)}"
        )
    if weight.device != events.device:
        raise ValueError(
            f"event_matmul: weight is on {weight.device}, but events are on {events.device}"
        )
    for name, tensor, size in (("scale", scale, n_units), ("bias", bias, n_out)):
        if tensor is None:
            continue
        if tuple(tensor.shape) != (size,):
            raise ValueError(
                f"event_matmul: {name} must have shape ({size},), got {tuple(tensor.shape)}"
            )
        if tensor.device != events.device:
            raise ValueError(
                f"event_matmul: {name} is on {tensor.device}, but events are on {events.device}"
            )
    _check_scale(weight, scale)


def _is_finite(tensor: Tensor) -> bool:
    # With a NaN, both ends are NaN. One pass; isfinite().all() takes four.
    return not tensor.numel() or all(isfinite(float(end)) for end in torch.aminmax(tensor))


def _check_scale(weight: Tensor | Compressed, scale: Tensor | None) -> None:
    if isinstance(weight, Compressed):
        if scale is not None:
            raise ValueError("event_matmul: a compressed matrix has its own scale, pass scale=None")
        return
    if scale is None:
        if weight.dtype == torch.int8:
            raise ValueError("event_matmul: an int8 weight needs a scale of shape (I,), got None")
        return
    if can_be_read(scale) and not _is_finite(scale.detach()):
        raise ValueError("event_matmul: scale must be finite, got NaN or infinity")
