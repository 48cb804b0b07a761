"""selective_scan on the CPU: blocks of sixteen channels, split over threads.

If u, delta and z are all bfloat16, they are read and y is written as bfloat16. Other low-precision
signals are converted to float32 first. Arithmetic and states are float32.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...cpu.compiled import require_compiler
from ...cpu.simd import WIDTH
from ...cpu.threads import run_split
from ...cpu.tiles import is_channels_last, sequence_bounds, signal, stored_dtype
from .cpu_backward import Gradients, Sums, Tiles, backward_blocks
from .cpu_forward import BILINEAR, MAMBA, WEIGHTED, ZOH, Problem, forward_blocks
from .outputs import CHUNK, count_blocks, empty_gradients, empty_outputs

require_compiler()

_COST = 10  # the time for an exponential, in bytes of memory traffic
_RULES = {"delta": MAMBA, "zoh": ZOH, "bilinear": BILINEAR}


class Layout:
    """The layout of channels in blocks of sixteen; no block contains two groups."""

    def __init__(self, channels: int, groups: int) -> None:
        self.groups, self.group_channels = groups, channels // groups
        self.blocks = count_blocks(channels, groups)

    def scatter(self, tensor: Tensor) -> np.ndarray:
        """(..., D, N) -> (... blocks N, 16), padded with zeros, a copy."""
        *outer, _, states = tensor.shape
        values = tensor.detach().float()
        if self.group_channels % WIDTH:
            grouped = values.reshape(*outer, self.groups, self.group_channels, states)
            padding = self.blocks // self.groups * WIDTH - self.group_channels
            values = F.pad(grouped, (0, 0, 0, padding))
        lanes = values.reshape(-1, WIDTH, states).transpose(1, 2)
        return lanes.clone(memory_format=torch.contiguous_format).view(-1, WIDTH).numpy()

    def scatter_vector(self, tensor: Tensor) -> np.ndarray:
        """(D,) -> (blocks, 16), padded with zeros."""
        if self.group_channels % WIDTH:
            return self.scatter(tensor[:, None])
        rows: np.ndarray = tensor.detach().float().contiguous().view(-1, WIDTH).numpy()
        return rows

    def rows(self, outer: int, states: int) -> np.ndarray:
        """Zeros in the shape of scatter of an (outer, D, states) tensor."""
        return torch.zeros(outer * self.blocks * states, WIDTH).numpy()

    def gather(self, rows: np.ndarray, like: Tensor) -> Tensor:
        """The reverse of scatter, to the shape (..., D, N) of `like`."""
        *outer, _, states = like.shape
        if self.group_channels % WIDTH == 0:
            blocks = torch.from_numpy(rows).view(-1, states, WIDTH)
            return blocks.transpose(1, 2).reshape(like.shape)
        lanes = torch.from_numpy(rows).view(*outer, self.blocks, states, WIDTH).transpose(-1, -2)
        width = self.blocks // self.groups * WIDTH
        grouped = lanes.reshape(*outer, self.groups, width, states)[..., : self.group_channels, :]
        return grouped.reshape(like.shape)


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, factor: str, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py: y (B, D, L), the last state (S, D, N), the chunk states."""
    out, last, chunk_states = empty_outputs(u, B, initial_state, save)
    layout = Layout(u.shape[1], B.shape[1])
    problem = _problem(
        layout, u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, cu_seqlens,
        delta_softplus, factor,
    )  # fmt: skip
    dtype = stored_dtype(u, delta, z)
    y = out if out.dtype == dtype else torch.empty_like(out, dtype=dtype)
    final = layout.scatter(initial_state)
    state_rows, target = chunk_states.view(-1, WIDTH).numpy(), signal(y, dtype)
    blocks_per_chunk = layout.blocks if is_channels_last(u) else 1

    def fill(first: int, stop: int) -> None:
        scratch = _scratch(5 * CHUNK)
        forward_blocks(problem, target, final, state_rows, scratch, first, stop, blocks_per_chunk)

    run_split(fill, layout.blocks, _COST * u.numel() * A.shape[1])
    if y is not out:
        out.copy_(y)
    return out, last.copy_(layout.gather(final, last)), chunk_states


def backward(
    grad_y: Tensor, grad_last: Tensor, chunk_states: Tensor,
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, factor: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py: gradients of u to initial_state, without elements for None."""
    layout, states = Layout(u.shape[1], B.shape[1]), A.shape[1]
    problem = _problem(
        layout, u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, cu_seqlens,
        delta_softplus, factor,
    )  # fmt: skip
    results = empty_gradients(u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight,
                              initial_state)  # fmt: skip
    dtype = stored_dtype(u, delta, z)
    d_u, d_delta, d_z = (results[i].to(dtype) for i in (0, 1, 6))
    grads = Gradients(
        u=signal(d_u, dtype), delta=signal(d_delta, dtype), z=signal(d_z, dtype),
        rate=layout.rows(1, states), weight=layout.rows(1, 0 if weight is None else states),
        skip=layout.rows(1, 1), bias=layout.rows(1, 1), scale=layout.rows(1, 1),
        state=layout.scatter(grad_last),
    )  # fmt: skip
    sums: dict[int, Sums] = {}  # key: the first block of a thread
    d_out, state_rows = signal(grad_y.to(dtype), dtype), chunk_states.view(-1, WIDTH).numpy()

    def fill(first: int, stop: int) -> None:
        sums[first] = Sums(*(np.zeros_like(a) for a in (problem.B, problem.C, problem.step)))
        tiles = Tiles(*(_scratch(CHUNK) for _ in range(8)), *_state_tiles(states))
        backward_blocks(problem, d_out, state_rows, grads, sums[first], tiles, first, stop)

    run_split(fill, layout.blocks, 2 * _COST * u.numel() * states)
    parts = [sums[first] for first in sorted(sums)]  # a fixed order of addition
    d_B, d_C, d_step = (torch.from_numpy(sum(part[i] for part in parts)) for i in range(3))
    by_step = (*B.shape[:2], B.shape[3], B.shape[2])
    d_skip, d_bias, d_scale = (
        layout.gather(rows, results[i][:, None])[:, 0]
        for rows, i in ((grads.skip, 5), (grads.bias, 7), (grads.scale, 9))
    )
    values = (
        d_u, d_delta, layout.gather(grads.rate, A), d_B.view(by_step).transpose(2, 3),
        d_C.view(by_step).transpose(2, 3), d_skip, d_z, d_bias,
        results[8] if step is None else d_step.view_as(step), d_scale,
        results[10] if weight is None else layout.gather(grads.weight, weight),
        layout.gather(grads.state, initial_state),
    )  # fmt: skip
    return tuple(
        result if result is value else result.copy_(value)
        for result, value in zip(results, values, strict=True)
    )


def _problem(
    layout: Layout, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
    z: Tensor | None, delta_bias: Tensor, step: Tensor | None, step_scale: Tensor,
    weight: Tensor | None, cu_seqlens: Tensor | None, delta_softplus: bool, factor: str,
) -> Problem:  # fmt: skip
    dtype = stored_dtype(u, delta, z)
    rule = WEIGHTED if weight is not None else _RULES[factor]
    no_rows: np.ndarray = np.empty((0, WIDTH), np.float32)
    return Problem(
        u=signal(u.to(dtype), dtype),
        delta=signal(delta.to(dtype), dtype),
        z=signal(None if z is None else z.to(dtype), dtype),
        rate=layout.scatter(A.float() * math.log2(math.e)),
        weight=no_rows if weight is None else layout.scatter(weight),
        skip=layout.scatter_vector(D),
        bias=layout.scatter_vector(delta_bias),
        scale=layout.scatter_vector(step_scale),
        step=np.empty(0, np.float32) if step is None else _float(step).flatten().numpy(),
        B=_by_step(B),
        C=_by_step(C),
        bounds=sequence_bounds(u, cu_seqlens),
        length=u.shape[2],
        groups=B.shape[1],
        group_channels=layout.group_channels,
        rule=rule,
        use_softplus=delta_softplus,
    )


def _by_step(tensor: Tensor) -> np.ndarray:
    """B or C, (B, G, N, L) -> (B G L, N)."""
    return _float(tensor).transpose(2, 3).reshape(-1, tensor.shape[2]).contiguous().numpy()


def _float(tensor: Tensor) -> Tensor:
    return tensor.detach().float()


def _scratch(rows: int) -> np.ndarray:
    return torch.empty(rows, WIDTH).numpy()  # torch aligns to cache lines, so each row is in one


def _state_tiles(states: int) -> list[np.ndarray]:
    """Scratch for a, h, dB and dC of one chunk."""
    steps = (CHUNK, CHUNK + 1, CHUNK, CHUNK)
    return [_scratch(count * states) for count in steps]
