"""One step of Mamba-2 in Triton: one program per block of a head's channels and batch row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...common.device import on_its_device

_CHANNELS = 16


@triton.jit
def _ssd_step_kernel(
    out_ptr, state_ptr, x_ptr, dt_ptr, log_decay_ptr, B_ptr, C_ptr, D_ptr, z_ptr,
    stride_b, stride_h, stride_p, stride_n, heads, channels, n_states, groups,
    HAS_D: tl.constexpr, HAS_Z: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    b, h = row // heads, row % heads
    p = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, STATES).to(tl.int64)
    inside_p, inside_n = p < channels, n < n_states
    inside = inside_p[:, None] & inside_n[None, :]
    x = tl.load(x_ptr + row * channels + p, mask=inside_p, other=0.0).to(tl.float32)
    dt, decay = tl.load(dt_ptr + row), tl.exp(tl.load(log_decay_ptr + row))
    group = (b * groups + h * groups // heads) * n_states
    B = tl.load(B_ptr + group + n, mask=inside_n, other=0.0).to(tl.float32)
    C = tl.load(C_ptr + group + n, mask=inside_n, other=0.0).to(tl.float32)
    cells = state_ptr + b * stride_b + h * stride_h + p[:, None] * stride_p + n[None, :] * stride_n
    state = tl.load(cells, mask=inside, other=0.0).to(tl.float32)
    state = decay * state + (dt * x)[:, None] * B[None, :]
    tl.store(cells, state, mask=inside)
    out = tl.sum(state * C[None, :], axis=1)
    if HAS_D:
        out += x * tl.load(D_ptr + h * channels + p, mask=inside_p, other=0.0).to(tl.float32)
    if HAS_Z:
        z = tl.load(z_ptr + row * channels + p, mask=inside_p, other=0.0).to(tl.float32)
        out *= z / (1.0 + tl.exp(-z))
    tl.store(out_ptr + row * channels + p, out, mask=inside_p)


@on_its_device
def step(
    state: Tensor, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None, z: Tensor | None,
) -> Tensor:  # fmt: skip
    """Backend interface, see reference.step; float32 inside."""
    batch, heads, channels, states = state.shape
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if out.numel() == 0:
        return out
    optional = (x if tensor is None else tensor.contiguous() for tensor in (D, z))
    signals = (tensor.contiguous() for tensor in (x, dt, log_decay, B, C))
    _ssd_step_kernel[batch * heads, triton.cdiv(channels, _CHANNELS)](
        out, state, *signals, *optional, *state.stride(), heads, channels, states, B.shape[1],
        HAS_D=D is not None, HAS_Z=z is not None, CHANNELS=_CHANNELS,
        STATES=triton.next_power_of_2(states),
    )  # fmt: skip
    return out
