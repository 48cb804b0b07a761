"""egru_scan on the CPU: matrix products in torch, the pointwise pass in Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...cpu.compiled import require_compiler
from ...cpu.stored_dtypes import as_stored
from ..event_matmul.cpu import forward as event_product
from ..event_matmul.formats import dense_arrays
from .cpu_events import MAX_SEQUENCES, event_steps
from .cpu_passes import backward_pass, forward_pass
from .steps import backward_steps, empty_outputs, forward_steps

require_compiler()

_NO_MASK: np.ndarray = np.empty((0, 0), np.uint8)


def _numpy(arrays: tuple[Any, ...]) -> list[Any]:
    views: list[Any] = []
    for a in arrays:
        if a is None:
            views += (_NO_MASK,)
        elif type(a) is float:
            views += (np.float32(a),)
        else:
            tensor = a.detach() if a.requires_grad else a
            views += ((tensor.view(torch.uint8) if a.dtype == torch.bool else tensor).numpy(),)
    return views


def _bind_forward(*arrays: Any) -> Callable[[int, int, int], None]:
    views = _numpy(arrays)
    return lambda first, size, gates_first: forward_pass(*views, first, size, gates_first)


def _bind_backward(*arrays: Any) -> Callable[[int, int, int], None]:
    *views, damp, support = _numpy(arrays)
    return lambda first, size, previous: backward_pass(*views, first, size, previous, damp, support)


def forward(
    gates_x: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor,
    y0: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
    dampening: float, support: float, save: bool, event_driven: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see steps.forward_steps."""
    if event_driven and 0 < len(y0) <= MAX_SEQUENCES:
        return _event_steps(
            dense_arrays(recurrent_kernel, None), gates_x, recurrent_bias, threshold, y0, h0, keep,
            keep_rate, batch_sizes, save,
        )  # fmt: skip
    return forward_steps(
        _bind_forward, gates_x, recurrent_kernel, recurrent_bias, threshold, y0, h0, keep,
        keep_rate, batch_sizes, save,
    )  # fmt: skip


def forward_stored(
    gates_x: Tensor, matrix: Any, recurrent_bias: Tensor, threshold: Tensor, y0: Tensor, h0: Tensor,
    keep_rate: float, batch_sizes: list[int],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """y, c and the last h, without gradients; `matrix` is R as arrays of event_matmul's formats."""
    return _event_steps(
        matrix, gates_x, recurrent_bias, threshold, y0, h0, None, keep_rate, batch_sizes, False
    )[:3]


def _event_steps(
    matrix: Any, gates_x: Tensor, recurrent_bias: Tensor, threshold: Tensor, y0: Tensor, h0: Tensor,
    keep: Tensor | None, keep_rate: float, batch_sizes: list[int], save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    y, c, h, gates, candidate = empty_outputs(gates_x, h0, batch_sizes, save)
    product = gates_x.new_empty(len(y0), 3 * h0.shape[1])
    event_steps(
        matrix, np.array(batch_sizes, np.int64), as_stored(y0), save,
        *_numpy((gates_x, product, recurrent_bias, threshold, h, keep, keep_rate, gates, candidate,
                 y, c)),
    )  # fmt: skip
    return y, c, h, gates, candidate


def backward(
    grad_y: Tensor, grad_c: Tensor, grad_h: Tensor, gates: Tensor, candidate: Tensor, y: Tensor,
    c: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor, y0: Tensor,
    h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
    dampening: float, support: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see steps.backward_steps."""
    return backward_steps(
        _bind_backward, grad_y, grad_c, grad_h, gates, candidate, y, c, recurrent_kernel,
        threshold, y0, h0, keep, keep_rate, batch_sizes, dampening, support,
    )  # fmt: skip


def is_mostly_zero(x: Tensor, kernel: Tensor) -> bool:
    """Whether `event_linear` would read less than half of the kernel, and supports its dtype."""
    few = 2 * int(x.count_nonzero()) < x.numel()
    return few and kernel.dtype != torch.float64


def event_linear(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """x kernel + bias, (N, I), (I, O), (O,) -> (N, O), without gradients; skips zeros in x."""
    out = event_product(x, kernel, None) + bias
    return out if out.dtype == x.dtype else out.to(x.dtype)
