"""The published formulas in plain PyTorch, and inputs for them.

B batch   D channels   L steps   N states   H heads   W filter width
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-5}
BATCH, DIM, STATES, LENGTH, WIDTH = 2, 6, 4, 9, 4


def scan_formula(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """h <- exp(delta A) h + delta B u; y = (C h + D u) silu(z); B and C are (B, D, N, L)."""
    delta = F.softplus(delta + bias[:, None])
    h, out = torch.zeros(BATCH, DIM, A.shape[1]), []
    for k in range(u.shape[2]):
        step = delta[:, :, k, None]
        h = torch.exp(step * A) * h + step * B[..., k] * u[:, :, k, None]
        out.append((h * C[..., k]).sum(-1))
    return (torch.stack(out, 2) + D[:, None] * u) * F.silu(z), h


def signals() -> dict[str, Tensor]:
    wave = torch.randn(3, BATCH, DIM, LENGTH).unbind()
    return {
        "u": wave[0], "delta": wave[1], "A": -torch.rand(DIM, STATES),
        "B": torch.randn(BATCH, STATES, LENGTH), "C": torch.randn(BATCH, STATES, LENGTH),
        "D": torch.randn(DIM), "z": wave[2], "delta_bias": torch.randn(DIM),
    }  # fmt: skip


def wide(signal: Tensor) -> Tensor:
    """B or C in any of the published shapes -> (B, D, N, L)."""
    if signal.dim() == 2:
        return signal[None, :, :, None].expand(BATCH, -1, -1, LENGTH)
    groups = signal[:, None] if signal.dim() == 3 else signal
    return groups.repeat_interleave(DIM // groups.shape[1], 1)


def conv_formula(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None) -> Tensor:
    """silu of the filter applied to the earlier inputs and x."""
    inputs = F.pad(x, (WIDTH - 1, 0)) if before is None else torch.cat([before, x], 2)
    return F.silu(F.conv1d(inputs, weight[:, None], bias, groups=DIM))


def conv_inputs() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(BATCH, DIM, LENGTH), torch.randn(DIM, WIDTH), torch.randn(DIM)


def step_formula(state: Tensor, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """One step of the scan with heads: new state (B, H, D, N), output (B, H, D)."""
    dt = F.softplus(arguments["dt"] + arguments["dt_bias"])[..., None]
    heads = state.shape[1]
    B, C = (
        arguments[n].repeat_interleave(heads // arguments[n].shape[1], 1)[:, :, None] for n in "BC"
    )
    state = torch.exp(dt * arguments["A"]) * state + dt * B * arguments["x"][..., None]
    out = (state * C).sum(-1) + arguments["D"] * arguments["x"]
    return state, out * F.silu(arguments["z"])
