"""selective_scan on the CPU: parameters laid out for sixteen channels abreast, blocks over threads.

Where u, delta and z are all bfloat16, they are read as they are, and so is y written; other low
precision is widened first. Arithmetic and states are float32.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...cpu.simd import WIDTH
from ...cpu.threads import run_split
from ...cpu.tiles import channels_abreast, sequence_bounds, signal, stored_dtype
from .cpu_backward import Gradients, Shared, Tiles, backward_blocks
from .cpu_forward import MAMBA, WEIGHTED, ZOH, Problem, forward_blocks
from .outputs import CHUNK, blocks_of, empty_gradients, empty_outputs

_COST = 10  # an exponential takes as long as moving so many bytes


class Layout:
    """Channels in blocks of sixteen, none of which spans two groups."""

    def __init__(self, channels: int, groups: int) -> None:
        self.groups, self.group_channels = groups, channels // groups
        self.blocks = blocks_of(channels, groups)

    def spread(self, tensor: Tensor) -> np.ndarray:
        """(..., D, N) -> (... blocks N, 16), with zeros for the channels that do not exist."""
        *outer, _, states = tensor.shape
        grouped = tensor.detach().float().reshape(*outer, self.groups, self.group_channels, states)
        missing = self.blocks // self.groups * WIDTH - self.group_channels
        padded = F.pad(grouped, (0, 0, 0, missing))
        lanes = padded.reshape(*outer, self.blocks, WIDTH, states).transpose(-1, -2)
        return lanes.contiguous().view(math.prod(lanes.shape[:-1]), WIDTH).numpy()

    def rows(self, outer: int, states: int) -> np.ndarray:
        """Room of zeros for what spread makes of (outer, D, states)."""
        return torch.zeros(outer * self.blocks * states, WIDTH).numpy()

    def gather(self, rows: np.ndarray, like: Tensor) -> Tensor:
        """The reverse of spread, for a tensor of the shape (..., D, N) of `like`."""
        *outer, _, states = like.shape
        lanes = torch.from_numpy(rows).view(*outer, self.blocks, states, WIDTH).transpose(-1, -2)
        width = self.blocks // self.groups * WIDTH
        grouped = lanes.reshape(*outer, self.groups, width, states)[..., : self.group_channels, :]
        return grouped.reshape(like.shape)


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, zoh: bool, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py: y (B, D, L), the last state (S, D, N), what backward needs."""
    out, last, kept = empty_outputs(u, B, initial_state, save)
    layout = Layout(u.shape[1], B.shape[1])
    problem = _problem(
        layout, u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, cu_seqlens,
        delta_softplus, zoh,
    )  # fmt: skip
    dtype = stored_dtype(u, delta, z)
    y = out if out.dtype == dtype else torch.empty_like(out, dtype=dtype)
    final = layout.spread(initial_state)
    kept_rows, target = kept.view(-1, WIDTH).numpy(), signal(y, dtype)
    together = layout.blocks if channels_abreast(u) else 1

    def fill(first: int, stop: int) -> None:
        room = _room(5 * CHUNK)
        forward_blocks(problem, target, final, kept_rows, room, first, stop, together)

    run_split(fill, layout.blocks, _COST * u.numel() * A.shape[1])
    if y is not out:
        out.copy_(y)
    return out, last.copy_(layout.gather(final, last)), kept


def backward(
    grad_y: Tensor, grad_last: Tensor, kept: Tensor,
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, zoh: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py: gradients of u to initial_state, empty for absent ones."""
    layout, states = Layout(u.shape[1], B.shape[1]), A.shape[1]
    problem = _problem(
        layout, u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, cu_seqlens,
        delta_softplus, zoh,
    )  # fmt: skip
    like = empty_gradients(u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight,
                           initial_state)  # fmt: skip
    dtype = stored_dtype(u, delta, z)
    wide = [like[i].to(dtype) for i in (0, 1, 6)]  # u, delta, z
    grads = Gradients(
        *(signal(t, dtype) for t in wide),
        *(layout.rows(1, n) for n in (states, 0 if weight is None else states, 1, 1, 1)),
        layout.spread(grad_last),
    )
    sums: dict[int, Shared] = {}  # by the first block of a thread
    d_out, kept_rows = signal(grad_y.to(dtype), dtype), kept.view(-1, WIDTH).numpy()

    def fill(first: int, stop: int) -> None:
        sums[first] = Shared(*(np.zeros_like(a) for a in (problem.B, problem.C, problem.step)))
        tiles = Tiles(*(_room(CHUNK) for _ in range(8)), *_state_tiles(states))
        backward_blocks(problem, d_out, kept_rows, grads, sums[first], tiles, first, stop)

    run_split(fill, layout.blocks, 2 * _COST * u.numel() * states)
    parts = [sums[first] for first in sorted(sums)]  # always added up in the same order
    d_B, d_C, d_step = (torch.from_numpy(sum(part[i] for part in parts)) for i in range(3))
    by_step = (*B.shape[:2], B.shape[3], B.shape[2])
    per_channel = [
        layout.gather(rows, like[i][:, None])[:, 0]
        for rows, i in ((grads.skip, 5), (grads.bias, 7), (grads.scale, 9))
    ]
    found = (
        wide[0], wide[1], layout.gather(grads.rate, A), d_B.view(by_step).transpose(2, 3),
        d_C.view(by_step).transpose(2, 3),
        per_channel[0], wide[2], per_channel[1], like[8] if step is None else d_step.view_as(step),
        per_channel[2], like[10] if weight is None else layout.gather(grads.weight, weight),
        layout.gather(grads.state, initial_state),
    )  # fmt: skip
    return tuple(
        grad if grad is value else grad.copy_(value)
        for grad, value in zip(like, found, strict=True)
    )


def _problem(
    layout: Layout, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
    z: Tensor | None, delta_bias: Tensor, step: Tensor | None, step_scale: Tensor,
    weight: Tensor | None, cu_seqlens: Tensor | None, delta_softplus: bool, zoh: bool,
) -> Problem:  # fmt: skip
    dtype = stored_dtype(u, delta, z)
    rule = WEIGHTED if weight is not None else ZOH if zoh else MAMBA
    no_rows = np.empty((0, WIDTH), np.float32)
    return Problem(
        signal(u.to(dtype), dtype),
        signal(delta.to(dtype), dtype),
        signal(None if z is None else z.to(dtype), dtype),
        layout.spread(A.float() * math.log2(math.e)),
        no_rows if weight is None else layout.spread(weight),
        *(layout.spread(t[:, None]) for t in (D, delta_bias, step_scale)),
        np.empty(0, np.float32) if step is None else _float(step).flatten().numpy(),
        *(_float(t).transpose(2, 3).reshape(-1, B.shape[2]).contiguous().numpy() for t in (B, C)),
        sequence_bounds(u, cu_seqlens),
        u.shape[2],
        B.shape[1],
        layout.group_channels,
        rule,
        delta_softplus,
    )


def _float(tensor: Tensor) -> Tensor:
    return tensor.detach().float()


def _room(rows: int) -> np.ndarray:
    return torch.empty(rows, WIDTH).numpy()  # torch aligns to cache lines: no vector spans two


def _state_tiles(states: int) -> list[np.ndarray]:
    """Room for a, h, dB and dC of one chunk."""
    steps = (CHUNK, CHUNK + 1, CHUNK, CHUNK)
    return [_room(count * states) for count in steps]
