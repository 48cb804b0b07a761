"""The backward pass of one chunk of ssd_scan on the CPU.

    R = B H rows of heads   K = B G groups of heads   J = H / G heads of a group
    T steps, W channels of a head: multiples of sixteen   N states

The forward pass of the chunk is computed again from the saved state before it. Gradients of decays
are sums of what flows past each step; no sum has terms that cancel, as differences of cumulative
sums would have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...cpu.simd import WIDTH
from .cpu_backward_passes import differentiate, enter, leave
from .cpu_chunk import Chunk, Sizes, as_rows
from .cpu_forward import run_chunk, run_prepare
from .cpu_passes import LATER

_NONE: np.ndarray = np.empty((0, WIDTH), np.float32)


class Targets(NamedTuple):
    """Where the gradients of a chunk's steps go; z is None without a gate."""

    x: Tensor  # (B, T', H, P)
    dt: Tensor  # (B, T', H)
    log_decay: Tensor
    B: Tensor  # (B, T', G, N)
    C: Tensor
    z: Tensor | None


def backward_chunk(
    chunk: Chunk, grad_y: Tensor, gate: Tensor | None, state: Tensor, d_state: Tensor,
    skip: np.ndarray, d_skip: np.ndarray, targets: Targets,
) -> None:  # fmt: skip
    """Write the gradients of a loaded chunk to `targets`, and add that of D to d_skip.

    `state` (K, N, J W) is the one before the chunk. d_state is the gradient of the one after it,
    and becomes that of `state`.
    """
    sizes, blocks, lanes = chunk.sizes, chunk.padded // WIDTH, chunk.sizes.width // WIDTH
    grad = chunk.load_heads(chunk.signal("grad"), grad_y)
    z, d_z = _NONE, _NONE
    if gate is None:
        run_prepare(chunk, with_matrix=False)
        torch.bmm(chunk.C, state, out=chunk.by_group)
    else:
        run_chunk(chunk, state)
        z = as_rows(chunk.load_heads(chunk.signal("z"), gate))
        d_z = as_rows(chunk.signal("d_z"))
    read, pushed = chunk.group_signal("read"), chunk.group_signal("pushed")
    before, x, grad_rows = as_rows(chunk.before), as_rows(chunk.x), as_rows(grad)
    by_head, by_group = as_rows(chunk.by_head), as_rows(chunk.by_group)
    after, dt = as_rows(chunk.after), as_rows(chunk.dt)
    shape = (chunk.padded, sizes.heads, lanes, sizes.per_group)

    def enter_heads(first: int, stop: int) -> None:
        enter(by_head, by_group, before, x, skip, z, grad_rows, d_z, d_skip, as_rows(read),
              *shape, first, stop)  # fmt: skip

    chunk.for_heads(enter_heads, chunk.padded * sizes.width)
    if targets.z is not None:
        chunk.store_heads(chunk.signal("d_z"), targets.z)

    torch.bmm(chunk.B, chunk.C.transpose(1, 2), out=chunk.product)
    d_matrix = torch.bmm(chunk.x, grad.transpose(1, 2))
    torch.bmm(chunk.B, d_state, out=pushed)
    d_B = torch.bmm(chunk.scaled, d_state.transpose(1, 2))
    d_C = torch.bmm(read, state.transpose(1, 2))
    past = torch.empty(chunk.rows, chunk.padded)
    matrices = [as_rows(t) for t in (chunk.product, chunk.matrix, d_matrix)]
    states = as_rows(state), as_rows(d_state)
    decays = as_rows(chunk.high), as_rows(chunk.low), chunk.total.numpy()

    def differentiate_heads(first: int, stop: int) -> None:
        sums: np.ndarray = np.empty((blocks, WIDTH), np.float32)
        differentiate(dt, *decays, *matrices, *states, as_rows(past), sums, LATER, blocks, lanes,
                      sizes.per_group, sizes.states, first, stop)  # fmt: skip

    work = 2 * chunk.padded**2 + 2 * sizes.states * sizes.width
    chunk.for_heads(differentiate_heads, work)
    d_state.baddbmm_(chunk.C.transpose(1, 2), read)
    torch.bmm(chunk.matrix, grad, out=chunk.by_head)
    per_head = d_matrix.view(chunk.groups, sizes.per_group, chunk.padded, chunk.padded)
    d_product = per_head.sum(1)
    chunk.store_groups(d_B.baddbmm_(d_product, chunk.C), targets.B)
    chunk.store_groups(d_C.baddbmm_(d_product.transpose(1, 2), chunk.B), targets.C)

    d_dt, d_decay = torch.empty(2, chunk.rows, chunk.padded)

    def leave_heads(first: int, stop: int) -> None:
        flows: np.ndarray = np.empty(2 * chunk.padded)
        results = as_rows(past), as_rows(d_dt), as_rows(d_decay), flows
        leave(by_head, by_group, as_rows(pushed), before, after, dt, x, skip, grad_rows,
              *results, *shape, first, stop)  # fmt: skip

    chunk.for_heads(leave_heads, 2 * chunk.padded * sizes.width)
    chunk.store_heads(chunk.x, targets.x)
    chunk.store_steps(d_dt, targets.dt)
    chunk.store_steps(d_decay, targets.log_decay)


def skip_gradient(d_skip: Tensor, sizes: Sizes) -> Tensor:
    """d_skip (R, W), summed over the batch, without padding: (H, P)."""
    return d_skip.view(-1, sizes.heads, sizes.width).sum(0)[:, : sizes.channels]
