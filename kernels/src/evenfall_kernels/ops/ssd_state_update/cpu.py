"""One step of Mamba-2 on the CPU: a fused pass over the state in Numba.

The state is read and written once. If N is a multiple of sixteen (the usual case), the states of a
channel are whole vectors, otherwise short loops that LLVM vectorises. torch computes what has no
dimension of states.
"""

from __future__ import annotations

from typing import Any

import torch
from numba import float32, njit
from torch import Tensor

from ...cpu.compiled import compiled, require_compiler
from ...cpu.scalar_math import FAST
from ...cpu.simd import WIDTH, broadcast, load, store, total
from ...cpu.stored_dtypes import as_stored
from ...cpu.threads import run_split
from ..selective_state_update.reference import finish

require_compiler()

_BYTES_PER_THREAD = 500_000


@njit(fastmath=FAST | {"reassoc"}, error_model="numpy", nogil=True)
def _advance_channel(state: Any, B: Any, C: Any, decay: float, drive: float) -> float:
    sums = state.dtype.type(0)
    for n in range(state.shape[0]):
        value = state[n] * decay + drive * B[n]
        state[n] = value
        sums += value * C[n]
    return sums


@compiled()
def _pass(
    out: Any, state: Any, x: Any, dt: Any, decay: Any, B: Any, C: Any, per_group: int,
    first: int, stop: int,
) -> None:  # fmt: skip
    """Heads first to stop - 1: out and x (B H, P), state (B H, P, N), B and C (B G, N)."""
    for row in range(first, stop):
        group = row // per_group
        for p in range(x.shape[1]):
            drive = dt[row] * x[row, p]
            out[row, p] = _advance_channel(state[row, p], B[group], C[group], decay[row], drive)


@compiled()
def _simd_pass(
    out: Any, state: Any, x: Any, dt: Any, decay: Any, B: Any, C: Any, per_group: int,
    first: int, stop: int,
) -> None:  # fmt: skip
    """The same with state, B and C as rows of sixteen states."""
    channels = x.shape[1]
    blocks = state.shape[0] // max(x.shape[0] * channels, 1)
    for row in range(first, stop):
        group = row // per_group * blocks
        for p in range(channels):
            drive, at = dt[row] * x[row, p], (row * channels + p) * blocks
            sums = broadcast(float32(0))
            for k in range(blocks):
                value = load(state, at + k) * decay[row] + load(B, group + k) * drive
                store(state, at + k, value)
                sums = sums + value * load(C, group + k)
            out[row, p] = total(sums)


def step(
    state: Tensor, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None, z: Tensor | None,
) -> Tensor:  # fmt: skip
    """Backend interface, see reference.step; float32 inside."""
    batch, heads, channels, states = state.shape
    work = state.float().contiguous()  # state itself if it is contiguous and float32
    out = torch.empty(x.shape, dtype=torch.float32)
    wide = (out, work, x, dt, torch.exp(log_decay), B, C)
    out_, work_, x_, dt_, decay_, B_, C_ = (as_stored(tensor.float()) for tensor in wide)
    rows, per_group = batch * heads, heads // B.shape[1]
    out_, x_ = out_.reshape(rows, channels), x_.reshape(rows, channels)
    dt_, decay_ = dt_.reshape(rows), decay_.reshape(rows)
    if states % WIDTH == 0:
        work_, B_, C_ = (array.reshape(-1, WIDTH) for array in (work_, B_, C_))
        run = _simd_pass
    else:
        work_ = work_.reshape(rows, channels, states)
        B_, C_ = (array.reshape(-1, states) for array in (B_, C_))
        run = _pass

    def fill(first: int, stop: int) -> None:
        run(out_, work_, x_, dt_, decay_, B_, C_, per_group, first, stop)

    run_split(fill, rows, 8 * work.numel(), _BYTES_PER_THREAD)
    if work.data_ptr() != state.data_ptr() or work.dtype != state.dtype:
        state.copy_(work)
    return finish(out, x, D, z)
