"""Stand-in for mamba_ssm's extension `selective_scan_cuda`: forward and backward of the scan.

B batch   D channels   L steps   N states
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall_mamba.ssm.scan import scan_with_last_state

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
        out (B, D, L) before the gate; x (B, D, 1, 2N), with the last state in [..., 1::2] and
        zeros elsewhere; and, unless z is None, out after the gate.
    """
    with torch.no_grad():
        out, last = scan_with_last_state(u, delta, A, B, C, D, None, delta_bias, delta_softplus)
        x = last.new_zeros(*last.shape[:2], 1, 2 * last.shape[2])
        x[:, :, 0, 1::2] = last
        return [out, x] if z is None else [out, x, _gate(out, z)]


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
    """Gradients of the scan. They are computed from its inputs; x is ignored.

    Returns:
        Those of u, delta, A, B, C, D and delta_bias, None for an argument that is None. Unless z
        is None, also that of z, written to dz if given, and with `recompute_out_z` the output
        after the gate.
    """
    inputs = [u, delta, A, B, C, D, delta_bias, z]
    leaves = [None if t is None else t.detach().requires_grad_() for t in inputs]
    with torch.enable_grad():
        u_, delta_, A_, B_, C_, D_, bias_, z_ = leaves
        result, _ = scan_with_last_state(u_, delta_, A_, B_, C_, D_, z_, bias_, delta_softplus)
    tensors = [leaf for leaf in leaves if leaf is not None]
    values = iter(torch.autograd.grad(result, tensors, dout))
    gradients: list[Tensor | None] = [None if leaf is None else next(values) for leaf in leaves]
    if z is None:
        return gradients[:-1]
    if dz is not None:
        gradients[-1] = dz.copy_(gradients[-1])
    return [*gradients, result.detach()] if recompute_out_z else gradients


def _gate(out: Tensor, z: Tensor) -> Tensor:
    return (out.float() * F.silu(z.float())).to(out.dtype)
