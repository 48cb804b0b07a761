"""The functions of `mamba_ssm` around the scan.

B batch   D channels   L steps   N states   G groups   R rank of delta   E model width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall_kernels import selective_scan

from .convolution import convolve


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """`evenfall_kernels.selective_scan` with the arguments that mamba_ssm has, and no others.

    The last state is differentiable, which mamba_ssm's is not.

    Raises:
        TypeError: A is complex.
        ValueError: shapes or devices do not match.
    """
    out, last = scan_to_the_end(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return (out, last) if return_last_state else out


def scan_to_the_end(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor]:
    """The output (B, D, L) and the last state (B, D, N) of selective_scan_fn, and its errors."""
    if A.is_complex():
        raise TypeError("A must be real, got a complex tensor: Evenfall has no complex scan")
    out, last = selective_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, True)
    return out, last


def mamba_inner_fn(
    xz: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    x_proj_weight: Tensor,
    delta_proj_weight: Tensor,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    A: Tensor,
    B: Tensor | None = None,
    C: Tensor | None = None,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    B_proj_bias: Tensor | None = None,
    C_proj_bias: Tensor | None = None,
    delta_softplus: bool = True,
    checkpoint_lvl: int = 1,
    b_rms_weight: Tensor | None = None,
    c_rms_weight: Tensor | None = None,
    dt_rms_weight: Tensor | None = None,
    b_c_dt_rms_eps: float = 1e-6,
) -> Tensor:
    """Convolution, projections, scan, gate and output projection of a Mamba block.

    The scan keeps one state in 32 whatever `checkpoint_lvl` is.

    Args:
        xz: (B, 2D, L), signal and gate.
        conv1d_weight: (D, 1, W).
        conv1d_bias: (D,).
        x_proj_weight: (R + 2N, D).
        delta_proj_weight: (D, R).
        out_proj_weight: (E, D).
        out_proj_bias: (E,).
        A: (D, N).
        B: as selective_scan_fn takes it; computed from the signal where None.
        C: as B.
        D: (D,).
        delta_bias: (D,).
        B_proj_bias: (N,), added to a computed B.
        C_proj_bias: (N,), added to a computed C.
        delta_softplus: whether delta goes through softplus.
        checkpoint_lvl: taken for compatibility.
        b_rms_weight: (N,), weight of an RMS norm of B over its states.
        c_rms_weight: the same for C.
        dt_rms_weight: (D,), the same for delta over its channels.
        b_c_dt_rms_eps: added to the mean square in these norms.

    Returns:
        (B, L, E).

    Raises:
        TypeError: A is complex.
        ValueError: shapes or devices do not match.
    """
    x, z = xz.chunk(2, dim=1)
    x, _ = convolve(x, conv1d_weight[:, 0], conv1d_bias, None, None, silu=True)
    rank, states = delta_proj_weight.shape[1], A.shape[1]
    projected = F.linear(x.transpose(1, 2), x_proj_weight)  # (B, L, R + 2N)
    delta = F.linear(projected[..., :rank], delta_proj_weight)
    if B is None:
        B = _biased(projected[..., rank : rank + states], B_proj_bias).transpose(1, 2)
    if C is None:
        C = _biased(projected[..., -states:], C_proj_bias).transpose(1, 2)
    y, _ = scan_to_the_end(
        x,
        _normed(delta.transpose(1, 2), dt_rms_weight, b_c_dt_rms_eps),
        A,
        _normed(B, b_rms_weight, b_c_dt_rms_eps),
        _normed(C, c_rms_weight, b_c_dt_rms_eps),
        D, z, delta_bias, delta_softplus,
    )  # fmt: skip
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)


def _biased(signal: Tensor, bias: Tensor | None) -> Tensor:
    return signal if bias is None else signal + bias.to(signal.dtype)


def _normed(signal: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """RMS norm over the last dimension but one; as it is without a weight."""
    if weight is None:
        return signal
    wide = signal.float()
    scale = torch.rsqrt(wide.square().mean(-2, keepdim=True) + eps)
    return (wide * scale * weight.float()[:, None]).to(signal.dtype)
