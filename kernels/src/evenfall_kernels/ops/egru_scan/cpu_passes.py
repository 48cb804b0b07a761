"""The pointwise passes of egru_scan in Numba: one step forward, one step backward.

Each row is processed in short loops over few arrays. The row stays in the first-level cache, and
LLVM vectorises the loops (see row_loops.py). All arrays are float32; dimensions as in reference.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, njit

from ...cpu.compiled import compiled
from ...cpu.scalar_math import FAST
from .row_loops import add, blend, fire, sigmoid_sum, tanh_gated


@compiled(fastmath=FAST)
def forward_pass(
    gates_x: Any, product: Any, bias: Any, threshold: Any, h: Any, keep: Any, keep_rate: Any,
    gates: Any, candidate: Any, y: Any, c: Any, first: int, size: int, gates_first: int,
) -> None:  # fmt: skip
    """One step: rows first to first + size - 1; gates and candidate from row gates_first on."""
    units = threshold.shape[0]
    for b in range(size):
        row, gates_row = first + b, gates_first + b
        x, q, state, cell = gates_x[row], product[b], h[b], c[row]
        zr, reset = gates[gates_row, : 2 * units], gates[gates_row, units : 2 * units]
        g, cand = gates[gates_row, 2 * units :], candidate[gates_row]
        sigmoid_sum(zr, x[: 2 * units], q[: 2 * units], bias[: 2 * units])
        add(cand, q[2 * units :], bias[2 * units :])
        tanh_gated(g, x[2 * units :], reset, cand)
        blend(cell, gates[gates_row, :units], state, g)
        if keep.shape[0] > 0:
            mask = keep[row]
            for i in range(units):
                cell[i] = cell[i] if mask[i] != 0 else state[i]
        elif keep_rate != float32(1):
            for i in range(units):
                cell[i] = (cell[i] - state[i]) * keep_rate + state[i]
        fire(y[row], state, cell, threshold)


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def _recompute_state(h: Any, c: Any, threshold: Any) -> None:
    for i in range(h.shape[0]):
        h[i] = c[i] if c[i] <= threshold[i] else c[i] - threshold[i]


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def _cell_gradient(
    dc: Any, dv: Any, c: Any, threshold: Any, dy: Any, dh: Any, damp: Any, support: Any
) -> None:
    """dv = psi(c - thr) (c dy - thr dh);  dc = o dy + dv + dh."""
    one, zero = float32(1), float32(0)
    for i in range(dc.shape[0]):
        slope = one - support * abs(c[i] - threshold[i])
        slope = damp * (zero if slope < zero else slope)
        dv[i] = slope * (c[i] * dy[i] - threshold[i] * dh[i])
        dc[i] = (zero if c[i] <= threshold[i] else dy[i]) + dv[i] + dh[i]


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def _threshold_gradient(d_threshold: Any, dv: Any, c: Any, threshold: Any, dh: Any) -> None:
    zero = float32(0)
    for i in range(dv.shape[0]):
        d_threshold[i] -= dv[i] + (zero if c[i] <= threshold[i] else dh[i])


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def _update_gradient(dz: Any, dp: Any, dc: Any, z: Any, g: Any, h: Any) -> None:
    """The gradients before the sigmoid of z and before the tanh of g."""
    one = float32(1)
    for i in range(dz.shape[0]):
        dz[i] = (h[i] - g[i]) * dc[i] * z[i] * (one - z[i])
        dp[i] = (one - g[i] * g[i]) * (one - z[i]) * dc[i]


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def _reset_gradient(dr: Any, dq: Any, dp: Any, r: Any, cand: Any) -> None:
    one = float32(1)
    for i in range(dr.shape[0]):
        dr[i] = r[i] * (one - r[i]) * dp[i] * cand[i]
        dq[i] = r[i] * dp[i]


@compiled(fastmath=FAST)
def backward_pass(
    grad_y: Any, grad_c: Any, gates: Any, candidate: Any, c: Any, threshold: Any, h0: Any,
    keep: Any, keep_rate: Any, dh: Any, dy: Any, d_threshold: Any, dq: Any, dg: Any,
    first: int, size: int, previous: int, damp: Any, support: Any,
) -> None:  # fmt: skip
    """One step back; the rows of the previous step start at `previous`, -1 in the first step."""
    units = threshold.shape[0]
    scratch = np.empty((5, units), np.float32)
    dc, dv, total, state, zoneout = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for b in range(size):
        row = first + b
        cell, row_dh = c[row], dh[b]
        if previous < 0:
            state[:] = h0[b]
        else:
            _recompute_state(state, c[previous + b], threshold)
        add(total, grad_y[row], dy[b])
        _cell_gradient(dc, dv, cell, threshold, total, row_dh, damp, support)
        _threshold_gradient(d_threshold[b], dv, cell, threshold, row_dh)
        if grad_c.shape[0] > 0:
            add(dc, dc, grad_c[row])
        zoneout[:] = float32(0)
        if keep.shape[0] > 0:
            mask = keep[row]
            for i in range(units):
                zoneout[i] = float32(0) if mask[i] != 0 else dc[i]
                dc[i] -= zoneout[i]
        elif keep_rate != float32(1):
            for i in range(units):
                zoneout[i] = (float32(1) - keep_rate) * dc[i]
                dc[i] = keep_rate * dc[i]
        z, r, g = gates[row, :units], gates[row, units : 2 * units], gates[row, 2 * units :]
        _update_gradient(dq[row, :units], dg[row], dc, z, g, state)
        d_reset, d_candidate = dq[row, units : 2 * units], dq[row, 2 * units :]
        _reset_gradient(d_reset, d_candidate, dg[row], r, candidate[row])
        for i in range(units):
            row_dh[i] = z[i] * dc[i] + zoneout[i]
