"""Takes the place of mamba_ssm's extension `selective_scan_cuda`: forward and backward of the scan.

B batch   D channels   L steps   N states
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall_mamba.ssm.scan import scan_to_the_end

__all__ = ["bwd", "fwd"]


def fwd(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> list[Tensor]:
    """Scan without recording gradients.

    Returns:
        out (B, D, L) before the gate; x (B, D, 1, 2N), whose entries [..., 1::2] are the last
        state and whose others are zero; and, where z is given, out through the gate.
    """
    with torch.no_grad():
        out, last = scan_to_the_end(u, delta, A, B, C, D, None, delta_bias, delta_softplus)
        x = last.new_zeros(*last.shape[:2], 1, 2 * last.shape[2])
        x[:, :, 0, 1::2] = last
        return [out, x] if z is None else [out, x, _gated(out, z)]


def bwd(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    dout: Tensor,
    x: Tensor | None,
    out: Tensor | None,
    dz: Tensor | None,
    delta_softplus: bool,
    recompute_out_z: bool,
) -> list[Tensor | None]:
    """Gradients of the scan, from its inputs alone; x is not needed.

    Returns:
        Those of u, delta, A, B, C, D and delta_bias, None for what is None; where z is given also
        z's, written to dz if there is one, and with `recompute_out_z` the gated output.
    """
    names = [u, delta, A, B, C, D, delta_bias, z]
    leaves = [None if t is None else t.detach().requires_grad_() for t in names]
    with torch.enable_grad():
        u_, delta_, A_, B_, C_, D_, bias_, z_ = leaves
        result, _ = scan_to_the_end(u_, delta_, A_, B_, C_, D_, z_, bias_, delta_softplus)
    given = [leaf for leaf in leaves if leaf is not None]
    found = iter(torch.autograd.grad(result, given, dout))
    gradients: list[Tensor | None] = [None if leaf is None else next(found) for leaf in leaves]
    if z is None:
        return gradients[:-1]
    if dz is not None:
        gradients[-1] = dz.copy_(gradients[-1])
    return [*gradients, result.detach()] if recompute_out_z else gradients


def _gated(out: Tensor, z: Tensor) -> Tensor:
    return (out.float() * F.silu(z.float())).to(out.dtype)
