"""causal_conv1d on the CPU: blocks of sixteen channels, split over threads.

bfloat16 is read and written directly, float16 is converted to float32 first; arithmetic is float32.
The output has the memory layout of x, so neither layout is copied into the other. No two threads
add to the same weight gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...cpu.compiled import require_compiler
from ...cpu.simd import WIDTH
from ...cpu.stored_dtypes import as_stored
from ...cpu.threads import run_split
from ...cpu.tiles import is_channels_last, sequence_bounds, signal, stored_dtype
from .cpu_passes import CHUNK, Gradients, Problem, Scratch, backward_blocks, forward_blocks

require_compiler()

_BYTES_PER_ELEMENT = 32  # the time for one element, as memory traffic


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.forward; float32 inside."""
    dtype = stored_dtype(x)
    problem = _problem(x, weight, bias, initial_state, cu_seqlens, silu, dtype)
    out = torch.empty_like(x, dtype=dtype)
    final = torch.empty(len(problem.bounds), x.shape[1], weight.shape[1] - 1)
    target, final_view = signal(out, dtype), final.numpy()

    def fill(first: int, stop: int) -> None:
        scratch = _scratch(problem, stop - first)
        forward_blocks(problem, target, final_view, scratch, first, stop)

    _run(fill, x, 1)
    return out.to(x.dtype), final.to(x.dtype)


def backward(
    grad_out: Tensor, grad_final: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None,
    initial_state: Tensor | None, cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.backward; float32 inside."""
    dtype = stored_dtype(x, grad_out)
    problem = _problem(x, weight, bias, initial_state, cu_seqlens, silu, dtype)
    d_x = torch.empty_like(x, dtype=dtype)
    d_weight, d_bias = torch.empty(weight.shape), torch.empty(weight.shape[0])
    d_state = torch.empty(grad_final.shape)
    gradients = Gradients(
        signal(grad_out.to(dtype), dtype), as_stored(grad_final.float()), signal(d_x, dtype),
        d_weight.numpy(), d_bias.numpy(), d_state.numpy(),
    )  # fmt: skip

    def fill(first: int, stop: int) -> None:
        scratch = _scratch(problem, stop - first)
        chunk = max(CHUNK, weight.shape[1] - 1)
        backward_blocks(problem, gradients, scratch, chunk, first, stop)

    _run(fill, x, 2)
    return (
        d_x.to(x.dtype),
        d_weight.to(weight.dtype),
        x.new_empty(0) if bias is None else d_bias.to(bias.dtype),
        x.new_empty(0) if initial_state is None else d_state.to(initial_state.dtype),
    )


def _problem(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool, dtype: torch.dtype,
) -> Problem:  # fmt: skip
    none: np.ndarray = np.empty((0, 0, 0), np.float32)
    return Problem(
        signal(x.to(dtype), dtype),
        as_stored(weight.float()),
        np.zeros(weight.shape[0], np.float32) if bias is None else as_stored(bias.float()),
        none if initial_state is None else as_stored(initial_state.float()),
        sequence_bounds(x, cu_seqlens),
        silu,
        x.shape[1] if is_channels_last(x) else 1,
    )


def _scratch(problem: Problem, blocks: int) -> Scratch:
    width = problem.weight.shape[1]
    steps = max(CHUNK, width - 1) + width - 1
    counts = (steps, steps, blocks * (width - 1), blocks * (width + 1), blocks * (width + 1))
    return Scratch(*(torch.empty(rows, WIDTH).numpy() for rows in counts))


def _run(fill: Callable[[int, int], None], x: Tensor, passes: int) -> None:
    run_split(fill, -(-x.shape[1] // WIDTH), passes * x.numel() * _BYTES_PER_ELEMENT)
