"""ssd_scan in Triton: launch the kernels.

    B batch   L steps   H heads   P channels of a head   N states   G groups   S sequences

Products of float32 signals are float32, unless PyTorch's setting for products allows TF32. Those of
bfloat16 and float16 are TF32, which holds such numbers exactly, with float32 sums; on AMD GPUs
other than gfx942, which have no TF32 in Triton, they are float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from ...common.device import on_its_device
from .outputs import count_chunks, empty_gradients, empty_outputs
from .triton_backward import group_kernel, head_kernel
from .triton_forward import add_kernel, output_kernel, pass_kernel

CHUNK = 64
_SMALLEST = 16  # of a tile of channels or states
_CELLS = 512  # of a state in one program that passes states on
_LARGEST, _WARPS = {"tf32": 32, "ieee": 16}, {"tf32": 4, "ieee": 8}
"""Float32 products take more registers: smaller tiles, and more threads for them."""
_PASS = {"num_warps": 4}


class _Chunks(NamedTuple):
    """The chunks of all sequences, in the list of rows (B L); some at the end can be empty."""

    begins: Tensor  # (chunks,), the first row of each
    ends: Tensor  # (chunks,), the last row + 1
    firsts: Tensor  # (S,), the first chunk of each sequence
    counts: Tensor  # (S,), its number of chunks

    @staticmethod
    def of(x: Tensor, cu_seqlens: Tensor | None) -> _Chunks:
        """From x (B, L, H, P), without reading the values of cu_seqlens."""
        batch, length = x.shape[:2]
        if cu_seqlens is None:
            bounds = torch.arange(batch + 1, device=x.device) * length
        else:
            bounds = cu_seqlens.long().clamp(0, length)
        sequences = bounds.numel() - 1
        number = count_chunks(batch, length, None if cu_seqlens is None else sequences, CHUNK)
        starts, lengths = bounds[:-1], bounds.diff().clamp(min=0)
        index = torch.arange(sequences, device=x.device)
        each = -(-length // CHUNK)
        firsts = index * each if cu_seqlens is None else starts // CHUNK + index
        counts = torch.minimum((lengths + CHUNK - 1) // CHUNK, (number - firsts).clamp(min=0))
        chunk = torch.arange(number, device=x.device)
        of = (torch.searchsorted(firsts, chunk, right=True) - 1).clamp(0)
        begins = starts[of] + (chunk - firsts[of]) * CHUNK
        return _Chunks(begins, torch.minimum(begins + CHUNK, bounds[1:][of]), firsts, counts)


class _Launch:
    """Sizes and options that the kernels share."""

    def __init__(self, x: Tensor, B: Tensor, cu_seqlens: Tensor | None) -> None:
        (_, _, heads, channels), (groups, states) = x.shape, B.shape[2:]
        self.chunks = _Chunks.of(x, cu_seqlens)
        self.number = self.chunks.begins.numel()
        self.places = self.chunks.begins, self.chunks.ends
        self.heads, self.groups, self.channels, self.states = heads, groups, channels, states
        self.padded = -(-channels // 16) * 16
        self.sizes = (heads, channels, states, groups, self.padded)
        exact = x.dtype == torch.float32 and not _allows_tf32()
        precision = "ieee" if exact or not _has_tf32(x.device) else "tf32"
        self.block_p, self.block_n = (
            min(_LARGEST[precision], max(_SMALLEST, triton.next_power_of_2(n)))
            for n in (channels, states)
        )
        self.options: dict[str, Any] = {
            "precision": precision, "block_t": CHUNK, "block_p": self.block_p,
            "block_n": self.block_n, "num_warps": _WARPS[precision], "num_stages": 1,
        }  # fmt: skip
        self.tiles_p = triton.cdiv(channels, self.block_p)
        self.tiles_n = triton.cdiv(states, self.block_n)

    def empty_states(self, x: Tensor) -> Tensor:
        """A state for each chunk, (chunks, H, P, N) with P padded to a multiple of sixteen."""
        shape = (self.number, self.heads * self.padded * self.states)
        return torch.empty(shape, dtype=torch.float32, device=x.device)

    def add(self, *tensors: Tensor, backward: bool) -> None:
        """What each chunk adds to a state."""
        grid = (self.number * self.heads, self.tiles_p * self.tiles_n)
        add_kernel[grid](*tensors, *self.places, *self.sizes, backward=backward, **self.options)

    def carry(self, states: Tensor, totals: Tensor, start: Tensor, backward: bool) -> Tensor:
        """Replace what chunks add by the states that enter them; return the one that leaves."""
        last = torch.empty_like(start)
        if start.numel():
            cells = triton.cdiv(self.channels * self.states, _CELLS)
            pass_kernel[start.shape[0] * self.heads, cells](
                states, totals, start, last, self.chunks.firsts, self.chunks.counts, self.heads,
                self.channels, self.states, self.padded, backward=backward, block=_CELLS, **_PASS,
            )  # fmt: skip
        return last

    def outputs(self, *tensors: Tensor, has_z: bool, backward: bool) -> None:
        """y, or the gradients of z and of y before the gate."""
        output_kernel[self.number * self.heads, self.tiles_p](
            *tensors, *self.places, *self.sizes, has_z=has_z, backward=backward, **self.options
        )


def _allows_tf32() -> bool:
    """Whether PyTorch's setting allows TF32 in products of float32."""
    setting = getattr(torch.backends.cuda.matmul, "fp32_precision", None)
    if setting is None:  # PyTorch before 2.9
        return torch.get_float32_matmul_precision() != "highest"
    return bool(setting == "tf32")  # both APIs set it; reading the older one can be an error


def _has_tf32(device: torch.device) -> bool:
    """Whether Triton compiles TF32 products for the device."""
    if torch.version.hip is None or device.type != "cuda":
        return True
    architecture: str = torch.cuda.get_device_properties(device).gcnArchName
    return architecture.startswith("gfx942")


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in tensors]


@on_its_device
def forward(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py: y (B, L, H, P), the last state (S, H, P, N), the states."""
    y, last, states = empty_outputs(x, initial_state, cu_seqlens, save, CHUNK)
    if not x.numel():
        return y, last.copy_(initial_state), states
    launch = _Launch(x, B, cu_seqlens)
    if not save:
        states = launch.empty_states(x)
    x, dt, log_decay, B, C, D = _contiguous(x, dt, log_decay, B, C, D)
    gate = x if z is None else z.contiguous()
    totals = torch.empty(launch.number, launch.heads, device=x.device)
    launch.add(x, dt, log_decay, B, states, totals, backward=False)
    last.copy_(launch.carry(states, totals, initial_state.contiguous(), backward=False))
    launch.outputs(
        x, dt, log_decay, B, C, D, gate, states, y, y, y, has_z=z is not None, backward=False
    )
    return y, last, states if save else states[:0]


@on_its_device
def backward(
    grad_y: Tensor, grad_last: Tensor, states: Tensor,
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py: gradients of x to initial_state, without elements for None."""
    results = empty_gradients(x, dt, log_decay, B, C, D, z, initial_state)
    d_x, d_dt, d_log_decay, d_B, d_C, d_D, d_z, d_initial = results
    if not x.numel():
        d_D.zero_()
        d_initial.copy_(grad_last)
        return results
    launch = _Launch(x, B, cu_seqlens)
    x, dt, log_decay, B, C, D, grad = _contiguous(x, dt, log_decay, B, C, D, grad_y)
    if z is not None:
        before_gate = torch.empty_like(x, dtype=torch.float32)
        launch.outputs(
            x, dt, log_decay, B, C, D, z.contiguous(), states, grad, before_gate, d_z,
            has_z=True, backward=True,
        )  # fmt: skip
        grad = before_gate
    totals = torch.empty(launch.number, launch.heads, device=x.device)
    d_states = launch.empty_states(x)
    launch.add(grad, dt, log_decay, C, d_states, totals, backward=True)
    d_initial.copy_(launch.carry(d_states, totals, grad_last.contiguous(), backward=True))
    d_skip = torch.empty(launch.number, launch.heads, launch.channels, device=x.device)
    head_kernel[(launch.number * launch.heads,)](
        x, dt, log_decay, B, C, D, grad, states, d_states, d_x, d_dt, d_log_decay, d_skip,
        *launch.places, *launch.sizes, **launch.options,
    )  # fmt: skip
    group_kernel[launch.number * launch.groups, launch.tiles_n](
        x, dt, log_decay, B, C, grad, states, d_states, d_B, d_C,
        *launch.places, *launch.sizes, **launch.options,
    )  # fmt: skip
    d_D.copy_(d_skip.sum(0))
    return results
