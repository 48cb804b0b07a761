"""mamba_ssm's chunked scan of Mamba-2 on any device: its own Triton on CUDA, Evenfall elsewhere.

B batch   L steps   H heads   P channels of a head   N states   G groups   S packed sequences
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall_kernels import ssd_scan

from ..packing import read_packing
from .convolution import causal_conv1d_fn
from .gated_norm import gated_norm

_NO_LIMIT = (0.0, float("inf"))


def elsewhere(replacement: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """The `make` of a change: the original for CUDA tensors, `replacement` for all others."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            first = args[0] if args else kwargs[next(iter(signature.parameters))]
            return (original if first.is_cuda else replacement)(*args, **kwargs)

        return wrapper

    return make


def scan_chunks(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, dt_softplus: bool, dt_limit: tuple[float, float],
    initial_states: Tensor | None, seq_idx: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y (B, L, H, P) and the last state of each row (B, H, P, N).

    seq_idx (B, L) is the packed sequence of each step; each row continues its first one from
    initial_states (B, H, P, N).
    """
    rows, signals, state = None, [x, dt, B, C, z], initial_states
    if seq_idx is not None:
        batch, length = x.shape[:2]
        rows = read_packing(seq_idx, batch, length)
        signals = [
            None if t is None else t.reshape(1, batch * length, *t.shape[2:]) for t in signals
        ]
        state = rows.sequence_states(initial_states)
    u, step, B_, C_, gate = signals
    y, last = ssd_scan(
        u, step, A, B_, C_, D, gate, dt_bias, dt_softplus, True, dt_limit=dt_limit,
        initial_state=state, cu_seqlens=None if rows is None else rows.cu_seqlens,
    )  # fmt: skip
    return (y, last) if rows is None else (y.view(x.shape), last[rows.last])


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = _NO_LIMIT,
    return_final_states: bool = False,
    return_varlen_states: bool = False,
) -> Any:
    """`evenfall_kernels.ssd_scan` with the arguments of mamba_ssm; chunk_size has no effect.

    Args:
        x: (B, L, H, P).
        dt: (B, L, H).
        A: (H,).
        B: (B, L, G, N).
        C: as B.
        D: (H,) or (H, P).
        z: as x.
        dt_bias: (H,).
        initial_states: (B, H, P, N), for the first sequence of each row.
        seq_idx: (B, L) integers, the packed sequence of each step.
        cu_seqlens: (S + 1,) integers, the bounds of the sequences of a single row, used with
            `return_varlen_states` only.
        dt_softplus: whether dt goes through softplus.
        dt_limit: the lowest and the highest dt.
        return_final_states: also return the last state of each row, (B, H, P, N).
        return_varlen_states: also return the last state of each sequence, (S, H, P, N).

    Raises:
        ValueError: shapes or devices do not match, or return_varlen_states without cu_seqlens.
    """
    if not return_varlen_states:
        y, final = scan_chunks(
            x, dt, A, B, C, D, z, dt_bias, dt_softplus, dt_limit, initial_states, seq_idx
        )
        return (y, final) if return_final_states else y
    if cu_seqlens is None:
        raise ValueError("cu_seqlens must be given with return_varlen_states, got None")
    if initial_states is not None:
        others = max(cu_seqlens.numel() - 2, 0)
        zeros = initial_states.new_zeros(others, *initial_states.shape[1:])
        initial_states = torch.cat([initial_states, zeros])
    y, states = ssd_scan(
        x, dt, A, B, C, D, z, dt_bias, dt_softplus, True, dt_limit=dt_limit,
        initial_state=initial_states, cu_seqlens=cu_seqlens,
    )  # fmt: skip
    return (y, states[-1:], states) if return_final_states else (y, states)


def mamba_split_conv1d_scan_combined(
    zxbcdt: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    chunk_size: int,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    dt_limit: tuple[float, float] = _NO_LIMIT,
    return_final_states: bool = False,
    activation: str | None = "silu",
    rmsnorm_weight: Tensor | None = None,
    rmsnorm_eps: float = 1e-6,
    outproj_weight: Tensor | None = None,
    outproj_bias: Tensor | None = None,
    headdim: int | None = None,
    ngroups: int = 1,
    norm_before_gate: bool = True,
) -> Any:
    """Convolution, scan, gate or gated norm, and output projection of a Mamba-2 block.

    Args:
        zxbcdt: (B, L, 2 M + 2 H P + 2 G N + H): the M channels of a gated MLP and their gate, the
            gate, x, B, C and dt.
        conv1d_weight: (H P + 2 G N, width).
        conv1d_bias: (H P + 2 G N,).
        dt_bias: (H,).
        A: (H,).
        D: (H,), or (H, P).
        chunk_size: accepted for compatibility, no effect.
        initial_states: (B, H, P, N).
        seq_idx: (B, L) integers, the packed sequence of each step.
        dt_limit: the lowest and the highest dt.
        return_final_states: also return the last state of each row, (B, H, P, N).
        activation: None, "silu" or "swish".
        rmsnorm_weight: (H P,), of an RMS norm over each group; None means the gate alone.
        rmsnorm_eps: added to the mean square.
        outproj_weight: (E, M + H P); None means no projection.
        outproj_bias: (E,).
        headdim: P, needed if D is (H,).
        ngroups: G.
        norm_before_gate: norm(y) silu(z), instead of norm(y silu(z)).

    Returns:
        (B, L, E).

    Raises:
        ValueError: shapes or devices do not match, or headdim is missing.
    """
    heads, channels = (len(D), headdim) if D.dim() == 1 else D.shape
    if channels is None:
        raise ValueError("headdim must be given if D has one dimension, got None")
    dim, bands = heads * channels, len(conv1d_weight)
    mlp = (zxbcdt.shape[-1] - dim - bands - heads) // 2
    gate_mlp, mlp_in, z, xBC, dt = zxbcdt.split([mlp, mlp, dim, bands, heads], dim=-1)
    convolved: Any = causal_conv1d_fn(
        xBC.transpose(1, 2), conv1d_weight, conv1d_bias, seq_idx, activation=activation
    )
    x, B, C = convolved.transpose(1, 2).split([dim, (bands - dim) // 2, (bands - dim) // 2], dim=-1)
    gate = z.unflatten(-1, (heads, channels)) if rmsnorm_weight is None else None
    y, final = scan_chunks(
        x.unflatten(-1, (heads, channels)), dt, A, B.unflatten(-1, (ngroups, -1)),
        C.unflatten(-1, (ngroups, -1)), D, gate, dt_bias, True, dt_limit, initial_states, seq_idx,
    )  # fmt: skip
    out = y.flatten(2)
    if rmsnorm_weight is not None:
        out = gated_norm(
            out, rmsnorm_weight, None, z, rmsnorm_eps, dim // ngroups, norm_before_gate, True
        )
    if mlp:
        out = torch.cat([F.silu(gate_mlp) * mlp_in, out], dim=-1)
    if outproj_weight is not None:
        out = F.linear(out, outproj_weight, outproj_bias)
    return (out, final) if return_final_states else out
