"""selective_scan in Triton: launches the kernels and gives their sums room in float32."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from .outputs import CHUNK, empty_gradients, empty_outputs
from .triton_backward import backward_kernel
from .triton_forward import forward_kernel

_CHANNELS, _STEPS = 4, 128
_MAMBA, _ZOH, _WEIGHTED = 0, 1, 2


class _Launch:
    """Grid, sizes and options that both kernels take; absent tensors become stand-ins."""

    def __init__(
        self, u: Tensor, A: Tensor, B: Tensor, z: Tensor | None, step: Tensor | None,
        weight: Tensor | None, initial_state: Tensor, cu_seqlens: Tensor | None,
        delta_softplus: bool, zoh: bool, kept: Tensor,
    ) -> None:  # fmt: skip
        channels, states = A.shape
        group_channels = channels // B.shape[1]
        block_d = min(_CHANNELS, triton.next_power_of_2(max(group_channels, 1)))
        group_blocks = triton.cdiv(group_channels, block_d)
        longest = triton.next_power_of_2(max(u.shape[2], 1))
        self.grid = (initial_state.shape[0], B.shape[1] * group_blocks)
        self.empty = 0 in (*self.grid, states)
        self.sizes = (u.shape[2], states, channels, group_channels, group_blocks, kept.shape[1])
        self.options = {
            "packed": cu_seqlens is not None,
            "has_z": z is not None,
            "has_step": step is not None,
            "rule": _WEIGHTED if weight is not None else _ZOH if zoh else _MAMBA,
            "use_softplus": delta_softplus,
            "block_d": block_d,
            "block_t": max(CHUNK, min(_STEPS, longest)),
        }


def _stand_in(tensor: Tensor | None, like: Tensor) -> Tensor:
    return like if tensor is None else tensor


def _whole(*tensors: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in tensors]


def _dense(tensor: Tensor) -> Tensor:
    """The tensor without gaps in memory, so that empty_like gives its gradient the same strides."""
    return tensor if torch.empty_like(tensor).stride() == tensor.stride() else tensor.contiguous()


def _match(grad: Tensor, found: Tensor) -> Tensor:
    """`found` in the dtype and the strides that were promised with `grad`."""
    same = grad.dtype == found.dtype and grad.stride() == found.stride()
    return found if same else grad.copy_(found)


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, zoh: bool, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py."""
    out, last, kept = empty_outputs(u, B, initial_state, save)
    state = initial_state.float().contiguous().clone()
    launch = _Launch(
        u, A, B, z, step, weight, initial_state, cu_seqlens, delta_softplus, zoh, kept
    )
    if not launch.empty:
        gate = _stand_in(z, u)
        forward_kernel[launch.grid](
            u, delta, *_whole(A, B, C, D), gate, *_whole(delta_bias, _stand_in(step, A)),
            *_whole(step_scale, _stand_in(weight, A), _stand_in(cu_seqlens, A)),
            out, state, kept, *u.stride(), *delta.stride(), *gate.stride(), *out.stride(),
            *launch.sizes, **launch.options, save=save,
        )  # fmt: skip
    return out, last.copy_(state), kept


def backward(
    grad_y: Tensor, grad_last: Tensor, kept: Tensor,
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, zoh: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py."""
    inputs = (u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, initial_state)
    grads = empty_gradients(*inputs)
    sums = [torch.zeros_like(t, dtype=torch.float32, memory_format=torch.contiguous_format)
            for t in grads[2:11]]  # fmt: skip
    state = grad_last.float().contiguous().clone()
    launch = _Launch(
        u, A, B, z, step, weight, initial_state, cu_seqlens, delta_softplus, zoh, kept
    )
    u, delta, gate = _dense(u), _dense(delta), _dense(_stand_in(z, u))
    d_u, d_delta, d_z = (torch.empty_like(t) for t in (u, delta, gate))
    if not launch.empty:
        d_A, d_B, d_C, d_D, _, d_bias, d_step, d_scale, d_weight = sums
        backward_kernel[launch.grid](
            u, delta, *_whole(A, B, C, D), gate, *_whole(delta_bias, _stand_in(step, A)),
            *_whole(step_scale, _stand_in(weight, A), _stand_in(cu_seqlens, A)), kept, grad_y,
            d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, state,
            *u.stride(), *delta.stride(), *gate.stride(), *grad_y.stride(),
            *launch.sizes, **launch.options,
        )  # fmt: skip
    if z is not None:
        sums[4] = d_z
    return tuple(map(_match, grads, (d_u, d_delta, *sums, state)))
