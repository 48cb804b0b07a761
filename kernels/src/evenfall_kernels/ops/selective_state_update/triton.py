"""One step of a selective scan in Triton: one program per block of channels and batch row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...common.device import on_its_device
from ..selective_scan.triton_math import softplus

_CHANNELS = 32


@triton.jit
def _step_kernel(
    out_ptr, state_ptr, x_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, D_ptr, z_ptr, bias_ptr, rows_ptr,
    stride_b, stride_d, stride_n, dim, n_states, groups, n_rows,
    SOFTPLUS: tl.constexpr, HAS_D: tl.constexpr, HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, STATES).to(tl.int64)
    inside_d, inside = d < dim, (d < dim)[:, None] & (n < n_states)[None, :]
    x = tl.load(x_ptr + b * dim + d, mask=inside_d, other=0.0).to(tl.float32)
    delta = tl.load(dt_ptr + b * dim + d, mask=inside_d, other=0.0).to(tl.float32)
    if HAS_BIAS:
        delta += tl.load(bias_ptr + d, mask=inside_d, other=0.0).to(tl.float32)
    if SOFTPLUS:
        delta = softplus(delta)
    A = tl.load(A_ptr + d[:, None] * n_states + n[None, :], mask=inside, other=0.0).to(tl.float32)
    rows = (b * groups + d * groups // dim)[:, None] * n_states + n[None, :]
    B = tl.load(B_ptr + rows, mask=inside, other=0.0).to(tl.float32)
    C = tl.load(C_ptr + rows, mask=inside, other=0.0).to(tl.float32)
    slot, own = b, inside
    if HAS_ROWS:
        slot = tl.load(rows_ptr + b).to(tl.int64)
        slots = n * 0 + slot
        own = inside & ((slots >= 0) & (slots < n_rows))[None, :]  # a negative row is padding
    cells = state_ptr + slot * stride_b + d[:, None] * stride_d + n[None, :] * stride_n
    state = tl.load(cells, mask=own, other=0.0).to(tl.float32)
    state = tl.exp(delta[:, None] * A) * state + (delta * x)[:, None] * B
    tl.store(cells, state, mask=own)
    out = tl.sum(state * C, axis=1)
    if HAS_D:
        out += x * tl.load(D_ptr + d, mask=inside_d, other=0.0).to(tl.float32)
    if HAS_Z:
        z = tl.load(z_ptr + b * dim + d, mask=inside_d, other=0.0).to(tl.float32)
        out *= z / (1.0 + tl.exp(-z))
    if HAS_ROWS:
        slots = d * 0 + slot
        out = tl.where(slots >= 0, out, 0.0)
        out = tl.where(slots < n_rows, out, float("nan"))  # nobody has checked them on a GPU
    tl.store(out_ptr + b * dim + d, out, mask=inside_d)


@on_its_device
def step(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, dt_softplus: bool, rows: Tensor | None,
) -> Tensor:  # fmt: skip
    """Backend interface, see reference.step; float32 inside."""
    (batch, dim), n_states = x.shape, state.shape[2]
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if out.numel() == 0:
        return out
    optional = (x if tensor is None else tensor.contiguous() for tensor in (D, z, dt_bias, rows))
    _step_kernel[batch, triton.cdiv(dim, _CHANNELS)](
        out, state, *(tensor.contiguous() for tensor in (x, dt, A, B, C)), *optional,
        *state.stride(), dim, n_states, B.shape[1], len(state), SOFTPLUS=dt_softplus,
        HAS_D=D is not None, HAS_Z=z is not None, HAS_BIAS=dt_bias is not None,
        HAS_ROWS=rows is not None, CHANNELS=_CHANNELS,
        STATES=triton.next_power_of_2(max(n_states, 1)),
    )  # fmt: skip
    return out
