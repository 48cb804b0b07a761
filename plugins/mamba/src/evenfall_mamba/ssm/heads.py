"""`selective_state_update` with one decay a head, the token step of Mamba-2."""

from __future__ import annotations

import math

from torch import Tensor

from evenfall_kernels import ssd_state_update

from .step import selective_state_update as general_update


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """As `step.selective_state_update`, and faster where dt, A, D and dt_bias are one a head.

    The mixers of Mamba-2 repeat them for all channels and states without copying them. The kernel
    then takes one of each head.
    """
    repeated = (dt, 1), (A, 2), (D, 1), (dt_bias, 1)
    three = all(t is None or getattr(t, "ndim", None) == 3 for t in (x, dt, A, B, C, z))
    by_head = getattr(state, "ndim", None) == 4 and three and state_batch_indices is None
    if by_head and all(t is None or _repeats(t, count) for t, count in repeated):
        return ssd_state_update(
            state, x, dt[..., 0], A[:, 0, 0], B, C, None if D is None else D[:, 0], z,
            None if dt_bias is None else dt_bias[:, 0], dt_softplus,
            dt_limit=(0.0 if dt_softplus else -math.inf, math.inf),  # this function has no limit
        )  # fmt: skip
    return general_update(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, state_batch_indices)


def _repeats(tensor: Tensor, dimensions: int) -> bool:
    """Whether its last dimensions, after at least one other, are one value, repeated."""
    if tensor.dim() <= dimensions:
        return False
    sizes = zip(tensor.stride()[-dimensions:], tensor.shape[-dimensions:], strict=True)
    return all(stride == 0 or size == 1 for stride, size in sizes)
