"""selective_scan in Triton: launches the kernels and gives their sums room in float32.

A program is one warp, which needs no barriers, with 16 elements a thread, over which the steps that
the threads of a scan take together are spread. Time is made contiguous first: a scan along lines of
which each thread holds one step costs several times more than the copy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from ...common.device import on_its_device
from .outputs import empty_gradients, empty_outputs
from .triton_backward import backward_kernel
from .triton_forward import forward_kernel

CHUNK = 256  # steps; those of short sequences are shorter
_SHORTEST, _ALIGNED = 32, 16
_ELEMENTS, _ELEMENTS_OF_LONG_FORMULAS = 512, 256  # the zero-order hold needs more registers
_PROGRAMS = 2048  # 16 on each multiprocessor of a large GPU
_MAMBA, _ZOH, _WEIGHTED = 0, 1, 2
# With at most 128 registers a thread, 16 programs fit on a multiprocessor.
_FORWARD = {"num_warps": 1, **({"maxnreg": 128} if torch.version.cuda else {})}
_BACKWARD = {"num_warps": 1}


class _Launch:
    """Grid, sizes and options that both kernels take; absent tensors become stand-ins."""

    def __init__(
        self, u: Tensor, A: Tensor, B: Tensor, z: Tensor | None, step: Tensor | None,
        weight: Tensor | None, initial_state: Tensor, cu_seqlens: Tensor | None,
        delta_softplus: bool, zoh: bool, kept: Tensor,
    ) -> None:  # fmt: skip
        sequences, channels, states = initial_state.shape
        group_channels = channels // B.shape[1]
        mean_length = triton.cdiv(u.shape[0] * u.shape[2], max(sequences, 1))
        block_t = max(_SHORTEST, min(CHUNK, triton.next_power_of_2(max(mean_length, 1))))
        elements = _ELEMENTS_OF_LONG_FORMULAS if zoh or block_t < 64 else _ELEMENTS
        block_d = min(elements // block_t, triton.next_power_of_2(max(group_channels, 1)))
        while block_d > 1 and sequences * channels < _PROGRAMS * block_d:
            block_d //= 2
        group_blocks = triton.cdiv(group_channels, block_d)
        self.grid = (sequences * B.shape[1] * group_blocks,)
        self.empty = 0 in (*self.grid, states)
        self.sizes = (states, channels, group_channels, group_blocks, kept.shape[1])
        self.options = {
            "packed": cu_seqlens is not None,
            "has_z": z is not None,
            "has_step": step is not None,
            "rule": _WEIGHTED if weight is not None else _ZOH if zoh else _MAMBA,
            "use_softplus": delta_softplus,
            "block_d": block_d,
            "block_t": block_t,
        }


def _stand_in(tensor: Tensor | None, like: Tensor) -> Tensor:
    return like if tensor is None else tensor


def _whole(*tensors: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in tensors]


def _whole_rows(*signals: Tensor) -> list[Tensor]:
    """The signals, time contiguous and, where they are long, a multiple of 16 steps in a row: there
    the compiler gives a thread neighbouring steps. Zeros make up what is missing."""
    length = signals[0].shape[-1]
    missing = -length % _ALIGNED if length >= CHUNK else 0
    if missing:
        return [F.pad(signal, (0, missing)).contiguous() for signal in signals]
    return [signal if signal.stride(-1) == 1 else signal.contiguous() for signal in signals]


def _rows(*signals: Tensor) -> list[int]:
    """Strides of batch and channel."""
    return [stride for signal in signals for stride in signal.stride()[:2]]


def _match(promised: Tensor, found: Tensor) -> Tensor:
    """`found` in the dtype, shape and strides of `promised`, without what made up whole rows."""
    if promised.dim() != found.dim():  # the empty tensor that stands for no gradient
        return promised
    if promised.shape != found.shape:
        found = found[..., : promised.shape[-1]]
    same = promised.dtype == found.dtype and promised.stride() == found.stride()
    return found if same else promised.copy_(found)


@on_its_device
def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, zoh: bool, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py."""
    out, last, kept = empty_outputs(u, B, initial_state, save, CHUNK)
    state = initial_state.float().contiguous().clone()
    launch = _Launch(u, A, B, z, step, weight, initial_state, cu_seqlens, delta_softplus, zoh, kept)
    if launch.empty:
        return out, last.copy_(state), kept
    length = u.shape[2]
    u, delta, B, C, gate = _whole_rows(u, delta, B, C, _stand_in(z, u))
    step = A if step is None else _whole_rows(step)[0]
    whole = out.is_contiguous() and out.shape == u.shape
    y = out if whole else torch.empty_like(u, memory_format=torch.contiguous_format)
    forward_kernel[launch.grid](
        u, delta, *_whole(A, B, C, D), gate, *_whole(delta_bias, step, step_scale),
        *_whole(_stand_in(weight, A), _stand_in(cu_seqlens, A)), y, state, kept,
        *_rows(u, delta, gate), length, u.shape[2], *launch.sizes, **launch.options, save=save,
        **_FORWARD,
    )  # fmt: skip
    return _match(out, y), last.copy_(state), kept


@on_its_device
def backward(
    grad_y: Tensor, grad_last: Tensor, kept: Tensor,
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, zoh: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py."""
    inputs = (u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, initial_state)
    grads = empty_gradients(*inputs)
    state = grad_last.float().contiguous().clone()
    launch = _Launch(u, A, B, z, step, weight, initial_state, cu_seqlens, delta_softplus, zoh, kept)
    length = u.shape[2]
    u, delta, B, C, gate, grad_y = _whole_rows(u, delta, B, C, _stand_in(z, u), grad_y)
    step = A if step is None else _whole_rows(step)[0]
    d_u, d_delta, d_z = (
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (u, delta, gate)
    )
    d_A, d_B, d_C, d_D, d_bias, d_step, d_scale, d_weight = (
        torch.zeros_like(t, dtype=torch.float32, memory_format=torch.contiguous_format)
        for t in (A, B, C, D, delta_bias, step, step_scale, _stand_in(weight, grads[10]))
    )
    if not launch.empty:
        backward_kernel[launch.grid](
            u, delta, *_whole(A, B, C, D), gate, *_whole(delta_bias, step, step_scale),
            *_whole(_stand_in(weight, A), _stand_in(cu_seqlens, A)), kept, grad_y,
            d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, state,
            *_rows(u, delta, gate, grad_y), length, u.shape[2], *launch.sizes, **launch.options,
            **_BACKWARD,
        )  # fmt: skip
    found = (d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, state)
    return tuple(map(_match, grads, found))
