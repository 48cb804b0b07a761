"""A scan with a step of each channel, by the loops that take delta of each channel.

B batch   D channels   L steps
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def scan_with_free_step(
    run: Callable[..., tuple[Tensor, Tensor]],
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, factor: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y and the last state, as reference.scan with step (B, D, L) and the factor delta or weight.

    The scan gets the times as its delta and a constant factor. Where the factor is delta, u is
    multiplied by it before, so skip and gate, which need the original u, follow.
    """
    dtype = initial_state.dtype
    times = step.to(dtype) * step_scale.to(dtype)[:, None]
    one, none = torch.ones_like(step_scale), torch.zeros_like(delta_bias)
    rest = initial_state, cu_seqlens, False, factor
    if weight is not None:
        return run(u, times, A, B, C, D, z, none, None, one, weight, *rest)
    size = delta.to(dtype) + delta_bias.to(dtype)[:, None]
    size = F.softplus(size) if delta_softplus else size
    constant = torch.ones_like(A, dtype=dtype)
    y, last = run(
        u.to(dtype) * size, times, A, B, C, torch.zeros_like(D), None, none, None, one, constant,
        *rest,
    )  # fmt: skip
    y = y + D.to(dtype)[:, None] * u.to(dtype)
    y = y if z is None else y * F.silu(z.to(dtype))
    return y.to(u.dtype), last
