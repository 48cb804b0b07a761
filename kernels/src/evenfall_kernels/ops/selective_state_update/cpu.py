"""One step of a selective scan on the CPU: a fused pass over the state in Numba.

The state is read and written once, channel by channel. If N is a multiple of sixteen (the usual
case), the states of a channel are whole vectors, otherwise short loops that LLVM vectorises. torch
computes what has only B x D elements: softplus, skip and gate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import float32, njit
from torch import Tensor

from ...cpu.compiled import compiled, require_compiler
from ...cpu.scalar_math import FAST, exp
from ...cpu.simd import WIDTH, broadcast, load, store, total
from ...cpu.simd_math import exp2
from ...cpu.stored_dtypes import as_stored
from . import reference
from .reference import finish, step_size

require_compiler()

_LOG2_E = np.float32(1.4426950408889634)


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def _advance_channel(state: Any, A: Any, B: Any, delta: float, drive: float) -> None:
    for n in range(state.shape[0]):
        state[n] = state[n] * exp(delta * A[n]) + drive * B[n]


# reassoc vectorises the sum but breaks the rounding inside exp, so these are two functions.
@njit(fastmath=FAST | {"reassoc"}, error_model="numpy", nogil=True)
def _dot(state: Any, C: Any) -> float:
    total = state.dtype.type(0)
    for n in range(state.shape[0]):
        total += state[n] * C[n]
    return total


@compiled()
def _pass(out: Any, state: Any, x: Any, delta: Any, A: Any, B: Any, C: Any, rows: Any) -> None:
    batch, dim = out.shape
    groups = B.shape[1]
    for b in range(batch):
        if rows[b] < 0:  # padding
            continue
        for d in range(dim):
            group = d * groups // dim
            row = state[rows[b], d]
            _advance_channel(row, A[d], B[b, group], delta[b, d], delta[b, d] * x[b, d])
            out[b, d] = _dot(row, C[b, group])


@compiled()
def _simd_pass(
    out: Any, state: Any, x: Any, delta: Any, A: Any, B: Any, C: Any, rows: Any, groups: int
) -> None:
    """The same with state, A, B and C as rows of sixteen states."""
    batch, dim = out.shape
    blocks = A.shape[0] // dim
    for b in range(batch):
        if rows[b] < 0:
            continue
        for d in range(dim):
            power, drive = delta[b, d] * _LOG2_E, delta[b, d] * x[b, d]
            first = (b * groups + d * groups // dim) * blocks
            sums = broadcast(float32(0))
            for k in range(blocks):
                row = (rows[b] * dim + d) * blocks + k
                h = load(state, row) * exp2(load(A, d * blocks + k) * power)
                h = h + load(B, first + k) * drive
                store(state, row, h)
                sums = sums + h * load(C, first + k)
            out[b, d] = total(sums)


def step(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, dt_softplus: bool, rows: Tensor | None,
) -> Tensor:  # fmt: skip
    """Backend interface, see reference.step; float32 inside."""
    if rows is None:
        rows_ = np.arange(len(state))
    else:
        rows_ = rows.numpy()
        if state.dtype != torch.float32 or not state.is_contiguous():  # convert only these rows
            return reference.step(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, rows)
    delta = step_size(dt, dt_bias, dt_softplus, torch.float32)
    work = state.float().contiguous()  # state itself if it is contiguous and float32
    out = torch.empty(x.shape, dtype=torch.float32)
    tensors = (out, work, x, delta, A, B, C)
    out_, work_, x_, delta_, *weights = (as_stored(tensor.float()) for tensor in tensors)
    if out.numel() and state.shape[2] and state.shape[2] % WIDTH == 0:
        work_, *weights = (array.reshape(-1, WIDTH) for array in (work_, *weights))
        _simd_pass(out_, work_, x_, delta_, *weights, rows_, B.shape[1])
    else:
        _pass(out_, work_, x_, delta_, *weights, rows_)
    if work.data_ptr() != state.data_ptr() or work.dtype != state.dtype:
        state.copy_(work)
    result = finish(out, x, D, z)
    return result if rows is None else result.masked_fill(rows[:, None] < 0, 0)
