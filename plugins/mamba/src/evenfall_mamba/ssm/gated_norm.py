"""mamba_ssm's gated norms in plain PyTorch, for devices on which its Triton kernels do not run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gated_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None,
    eps: float,
    group_size: int | None,
    norm_before_gate: bool,
    is_rms_norm: bool,
) -> Tensor:
    """norm(x) silu(z), or norm(x silu(z)) unless norm_before_gate, in float32.

    Args:
        x: (..., D).
        weight: (D,).
        bias: (D,).
        z: as x; None means no gate.
        eps: added to the variance or the mean square.
        group_size: the norm is over groups of so many channels; None means over all.
        norm_before_gate: see above.
        is_rms_norm: an RMS norm instead of a layer norm.

    Raises:
        ValueError: group_size does not divide D.
    """
    size = x.shape[-1] if group_size is None else group_size
    if size < 1 or x.shape[-1] % size:
        raise ValueError(f"group_size must divide the {x.shape[-1]} channels of x, got {size}")
    wide = x if x.dtype == torch.float64 else x.float()
    gate = None if z is None else F.silu(z.to(wide.dtype))
    if gate is not None and not norm_before_gate:
        wide = wide * gate
    groups = wide.unflatten(-1, (-1, size))
    normed = (
        F.rms_norm(groups, (size,), eps=eps)
        if is_rms_norm
        else F.layer_norm(groups, (size,), eps=eps)
    )
    out = normed.flatten(-2) * weight.to(wide.dtype)
    if bias is not None:
        out = out + bias.to(wide.dtype)
    if gate is not None and norm_before_gate:
        out = out * gate
    return out.to(x.dtype)


def layernorm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None = None,
    eps: float = 1e-6,
    group_size: int | None = None,
    norm_before_gate: bool = True,
    is_rms_norm: bool = False,
) -> Tensor:
    """`gated_norm` with the arguments of mamba_ssm."""
    return gated_norm(x, weight, bias, z, eps, group_size, norm_before_gate, is_rms_norm)


def rmsnorm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None = None,
    eps: float = 1e-6,
    group_size: int | None = None,
    norm_before_gate: bool = True,
) -> Tensor:
    """`gated_norm` as an RMS norm, with the arguments of mamba_ssm."""
    return gated_norm(x, weight, bias, z, eps, group_size, norm_before_gate, True)
