"""selective_scan in Triton: launch the kernels, with float32 sums.

A program is one warp, which needs no barriers, with 16 elements per thread. Time is made contiguous
first: a scan in which a thread does not have neighbouring steps takes several times as long as the
copy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from ...common.device import alert_not_deterministic, on_its_device
from .outputs import empty_gradients, empty_outputs
from .triton_backward import backward_kernel
from .triton_forward import forward_kernel

CHUNK = 256  # steps; less for short sequences
_SHORTEST, _ALIGNED = 32, 16
_ELEMENTS, _ZOH_ELEMENTS = 512, 256  # the zero-order hold needs more registers
_PROGRAMS = 2048  # 16 per multiprocessor of a large GPU
_MAMBA, _ZOH, _WEIGHTED = 0, 1, 2
# With at most 128 registers per thread, 16 programs fit on a multiprocessor.
_FORWARD = {"num_warps": 1, **({"maxnreg": 128} if torch.version.cuda else {})}
_BACKWARD = {"num_warps": 1}


class _Launch:
    """Grid, sizes and options of both kernels."""

    def __init__(
        self, u: Tensor, A: Tensor, B: Tensor, z: Tensor | None, step: Tensor | None,
        weight: Tensor | None, initial_state: Tensor, cu_seqlens: Tensor | None,
        delta_softplus: bool, factor: str, chunk_states: Tensor,
    ) -> None:  # fmt: skip
        sequences, channels, states = initial_state.shape
        group_channels = channels // B.shape[1]
        mean_length = triton.cdiv(u.shape[0] * u.shape[2], max(sequences, 1))
        block_t = max(_SHORTEST, min(CHUNK, triton.next_power_of_2(max(mean_length, 1))))
        elements = _ZOH_ELEMENTS if factor == "zoh" or block_t < 64 else _ELEMENTS
        block_d = min(elements // block_t, triton.next_power_of_2(max(group_channels, 1)))
        while block_d > 1 and sequences * channels < _PROGRAMS * block_d:
            block_d //= 2
        group_blocks = triton.cdiv(group_channels, block_d)
        self.grid = (sequences * B.shape[1] * group_blocks,)
        self.empty = 0 in (*self.grid, states)
        self.sizes = (states, channels, group_channels, group_blocks, chunk_states.shape[1])
        self.options = {
            "packed": cu_seqlens is not None,
            "has_z": z is not None,
            "has_step": step is not None,
            "rule": _WEIGHTED if weight is not None else _ZOH if factor == "zoh" else _MAMBA,
            "use_softplus": delta_softplus,
            "block_d": block_d,
            "block_t": block_t,
        }


def _or_placeholder(tensor: Tensor | None, placeholder: Tensor) -> Tensor:
    return placeholder if tensor is None else tensor


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in tensors]


def _pad_rows(*signals: Tensor) -> list[Tensor]:
    """The signals with contiguous time; long ones padded with zeros to a multiple of 16 steps.

    With such rows the compiler gives each thread neighbouring steps.
    """
    length = signals[0].shape[-1]
    padding = -length % _ALIGNED if length >= CHUNK else 0
    if padding:
        return [F.pad(signal, (0, padding)).contiguous() for signal in signals]
    return [signal if signal.stride(-1) == 1 else signal.contiguous() for signal in signals]


def _strides(*signals: Tensor) -> list[int]:
    """The strides of batch and channel."""
    return [stride for signal in signals for stride in signal.stride()[:2]]


def _match(result: Tensor, value: Tensor) -> Tensor:
    """`value` in the dtype, shape and strides of `result`, without padding."""
    if result.dim() != value.dim():  # no gradient: a tensor without elements
        return result
    if result.shape != value.shape:
        value = value[..., : result.shape[-1]]
    same = result.dtype == value.dtype and result.stride() == value.stride()
    return value if same else result.copy_(value)


@on_its_device
def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, factor: str, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py."""
    out, last, chunk_states = empty_outputs(u, B, initial_state, save, CHUNK)
    state = initial_state.float().contiguous().clone()
    launch = _Launch(
        u, A, B, z, step, weight, initial_state, cu_seqlens, delta_softplus, factor, chunk_states
    )  # fmt: skip
    if launch.empty:
        return out, last.copy_(state), chunk_states
    length = u.shape[2]
    u, delta, B, C, gate = _pad_rows(u, delta, B, C, _or_placeholder(z, u))
    step = A if step is None else _pad_rows(step)[0]
    direct = out.is_contiguous() and out.shape == u.shape
    y = out if direct else torch.empty_like(u, memory_format=torch.contiguous_format)
    forward_kernel[launch.grid](
        u, delta, *_contiguous(A, B, C, D), gate, *_contiguous(delta_bias, step, step_scale),
        *_contiguous(_or_placeholder(weight, A), _or_placeholder(cu_seqlens, A)), y, state,
        chunk_states, *_strides(u, delta, gate), length, u.shape[2], *launch.sizes,
        **launch.options, save=save, **_FORWARD,
    )  # fmt: skip
    return _match(out, y), last.copy_(state), chunk_states


@on_its_device
def backward(
    grad_y: Tensor, grad_last: Tensor, chunk_states: Tensor,
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, factor: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py."""
    inputs = (u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, initial_state)
    grads = empty_gradients(*inputs)
    state = grad_last.float().contiguous().clone()
    launch = _Launch(
        u, A, B, z, step, weight, initial_state, cu_seqlens, delta_softplus, factor, chunk_states
    )  # fmt: skip
    length = u.shape[2]
    u, delta, B, C, gate, grad_y = _pad_rows(u, delta, B, C, _or_placeholder(z, u), grad_y)
    step = A if step is None else _pad_rows(step)[0]
    d_u, d_delta, d_z = (
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (u, delta, gate)
    )
    d_A, d_B, d_C, d_D, d_bias, d_step, d_scale, d_weight = (
        torch.zeros_like(t, dtype=torch.float32, memory_format=torch.contiguous_format)
        for t in (A, B, C, D, delta_bias, step, step_scale, _or_placeholder(weight, grads[10]))
    )
    if not launch.empty:
        alert_not_deterministic("the backward pass of selective_scan in Triton")
        backward_kernel[launch.grid](
            u, delta, *_contiguous(A, B, C, D), gate, *_contiguous(delta_bias, step, step_scale),
            *_contiguous(_or_placeholder(weight, A), _or_placeholder(cu_seqlens, A)), chunk_states,
            grad_y, d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, state,
            *_strides(u, delta, gate, grad_y), length, u.shape[2], *launch.sizes, **launch.options,
            **_BACKWARD,
        )  # fmt: skip
    values = (d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, state)
    return tuple(map(_match, grads, values))
