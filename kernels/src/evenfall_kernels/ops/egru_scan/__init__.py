"""egru_scan: the event-based GRU (EGRU) over whole sequences, forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check_cu_seqlens, check_mask, check_options, check_state, check_weights
from .reference import event
from .run import layout_of, run_layer

__all__ = ["EgruScan", "egru_scan"]


class EgruScan(NamedTuple):
    """The result of egru_scan: outputs, final state and, if requested, events and cells."""

    y: Tensor  # (batch, time, units)
    state: tuple[Tensor, Tensor]  # y, h of the last step, each (sequences, units)
    events: Tensor | None  # (batch, time, units), 0 or 1, with the surrogate gradient
    cells: Tensor | None  # (batch, time, units), c before the reset


def egru_scan(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    *,
    initial_state: tuple[Tensor, Tensor] | None = None,
    dropconnect_mask: Tensor | None = None,
    zoneout: float = 0.0,
    training: bool = False,
    dampening: float = 0.7,
    support: float = 1.0,
    variant: str = "released",
    cu_seqlens: Tensor | None = None,
    return_events: bool = False,
    return_cells: bool = False,
    event_driven: bool = True,
) -> EgruScan:
    r"""Run an EGRU layer over whole sequences.

    The gates are in the order z, r, g. A prime marks the previous step:

    .. math::
        z &= \sigma(x W_z + b_z + y' R_z + \beta_z) \\
        r &= \sigma(x W_r + b_r + y' R_r + \beta_r) \\
        g &= \tanh(x W_g + b_g + r (y' R_g + \beta_g)) \\
        c &= z h' + (1 - z) g, \quad o = 1[c > \vartheta], \quad y = o c, \quad h = c - o \vartheta

    The derivative of o is replaced by :math:`d \max(0, 1 - s |c - \vartheta|)` with d = dampening
    and s = support. All other gradients are exact. ``variant="paper"`` is the form in the paper:
    r multiplies y' before the product, and c = z c' + (1 - z) g - y'. It runs on the reference
    backend.

    Args:
        x: (batch, time, input), or (1, rows, input) with ``cu_seqlens``.
        kernel: W, (input, 3 units).
        recurrent_kernel: R, (units, 3 units).
        bias: b, (3 units,).
        recurrent_bias: beta, (3 units,).
        threshold: (units,), in the units of c, usually in [0, 1].
        initial_state: y and h, each (sequences, units); None means zeros.
        dropconnect_mask: (units, 3 units), multiplied with R for the whole call.
        zoneout: probability p that a unit keeps h'. In training c = h' with probability p, sampled
            for each element; otherwise c = p h' + (1 - p) c.
        training: whether zoneout samples.
        cu_seqlens: (sequences + 1,) integers, the bounds of packed sequences.
        return_events: also return o, whose gradient is the surrogate's.
        return_cells: also return c.
        event_driven: on the CPU, with one or two sequences, read only the rows of R (and, without
            gradients, of W) whose unit fired. False uses dense products.

    Returns:
        EgruScan(y, state, events, cells). The state is float32 (float64 for float64 input), y has
        the dtype of x.

    Precision: the recurrent product uses the dtype of recurrent_kernel (that of autocast where
    enabled), everything else that of the state. bfloat16 weights are the fastest on a processor or
    GPU with native bfloat16 products.

    Memory for training: 6 numbers per unit and row (z, r, g, the recurrent candidate, c, y), 24
    bytes in float32.

    Raises:
        ValueError: a shape, device, option or cu_seqlens is wrong.
        TypeError: an argument is not a floating point tensor, or initial_state is not a pair.
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference".

    Source: Subramoney et al., "Efficient recurrent architectures through activity sparsity and
    sparse back-propagation through time", ICLR 2023, arXiv 2206.06178.
    """
    check_weights(x, kernel, recurrent_kernel, bias, recurrent_bias, threshold)
    check_options(zoneout, variant, dampening, support)
    units = threshold.numel()
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, x)
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.numel() - 1
    layout = layout_of(x, cu_seqlens, variant)
    if initial_state is not None:
        check_state(initial_state, sequences, units, x)
    if dropconnect_mask is not None:
        check_mask(dropconnect_mask, recurrent_kernel)
        recurrent_kernel = recurrent_kernel * dropconnect_mask

    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        recurrent_kernel = recurrent_kernel.to(torch.get_autocast_dtype(x.device.type))
    rows = layout.pack(x)
    state_dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    recurrent_bias, threshold = _as(state_dtype, recurrent_bias), _as(state_dtype, threshold)
    if initial_state is None:
        y0 = h0 = rows.new_zeros(sequences, units, dtype=state_dtype)
    else:
        y0, h0 = (layout.sort(_as(state_dtype, s)).contiguous() for s in initial_state)
    keep, keep_rate = None, 1.0 - zoneout
    if zoneout and training:
        keep = torch.rand(rows.shape[0], units, device=x.device) >= zoneout

    recurrent = (
        recurrent_kernel.contiguous(), recurrent_bias.contiguous(), threshold.contiguous(), y0, h0,
        keep, keep_rate, dampening, support,
    )  # fmt: skip
    y, c, h_last = run_layer(rows, kernel, bias, recurrent, layout, variant, event_driven)

    state = (layout.unsort(layout.last(y, y0)), layout.unsort(h_last))
    events = None
    if return_events:
        events = layout.unpack(event(c - threshold, dampening, support))
    cells = layout.unpack(c) if return_cells else None
    return EgruScan(_as(x.dtype, layout.unpack(y)), state, events, cells)


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    # Tensor.to takes most of a microsecond even if the dtype is the same.
    return tensor if tensor.dtype == dtype else tensor.to(dtype)
