"""`selective_scan_fn` and `mamba_inner_fn` of `mamba_ssm`.

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
    """`evenfall_kernels.selective_scan` with the arguments of mamba_ssm.

    The last state is differentiable; mamba_ssm's is not.

    Raises:
        TypeError: A is complex.
        ValueError: shapes or devices do not match.
    """
    out, last = scan_with_last_state(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return (out, last) if return_last_state else out


def scan_with_last_state(
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
    """The output (B, D, L) and last state (B, D, N) of selective_scan_fn; raises its errors."""
    if A.is_complex():
        raise TypeError("A must be real, got a complex tensor; Evenfall has no complex scan")
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

    For backward, the scan stores at most one state in 32 steps, whatever `checkpoint_lvl` is.

    Args:
        xz: (B, 2D, L), signal and gate.
        conv1d_weight: (D, 1, W).
        conv1d_bias: (D,).
        x_proj_weight: (R + 2N, D).
        delta_proj_weight: (D, R).
        out_proj_weight: (E, D).
        out_proj_bias: (E,).
        A: (D, N).
        B: as in selective_scan_fn; None computes it from the signal.
        C: as B.
        D: (D,).
        delta_bias: (D,).
        B_proj_bias: (N,), added to B if that is computed.
        C_proj_bias: (N,), added to C if that is computed.
        delta_softplus: whether delta goes through softplus.
        checkpoint_lvl: accepted for compatibility, no effect.
        b_rms_weight: (N,), weight of an RMS norm of B over its states.
        c_rms_weight: the same for C.
        dt_rms_weight: (D,), the same for delta over its channels.
        b_c_dt_rms_eps: added to the mean square in these RMS norms.

    Returns:
        (B, L, E).

    Raises:
        TypeError: A is complex.
        ValueError: shapes or devices do not match.
    """
    x, z = xz.chunk(2, dim=1)
    x, _ = convolve(x, conv1d_weight[:, 0], conv1d_bias, None, None, silu=True)
    rank, states = delta_proj_weight.shape[1], A.shape[1]
    projection = F.linear(x.transpose(1, 2), x_proj_weight)  # (B, L, R + 2N)
    delta = F.linear(projection[..., :rank], delta_proj_weight)
    if B is None:
        B = _add_bias(projection[..., rank : rank + states], B_proj_bias).transpose(1, 2)
    if C is None:
        C = _add_bias(projection[..., -states:], C_proj_bias).transpose(1, 2)
    y, _ = scan_with_last_state(
        x,
        _rms_norm(delta.transpose(1, 2), dt_rms_weight, b_c_dt_rms_eps),
        A,
        _rms_norm(B, b_rms_weight, b_c_dt_rms_eps),
        _rms_norm(C, c_rms_weight, b_c_dt_rms_eps),
        D, z, delta_bias, delta_softplus,
    )  # fmt: skip
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)


def _add_bias(signal: Tensor, bias: Tensor | None) -> Tensor:
    return signal if bias is None else signal + bias.to(signal.dtype)


def _rms_norm(signal: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """RMS norm over the last dimension but one; the signal itself if weight is None."""
    if weight is None:
        return signal
    wide = signal.float()
    scale = torch.rsqrt(wide.square().mean(-2, keepdim=True) + eps)
    return (wide * scale * weight.float()[:, None]).to(signal.dtype)
