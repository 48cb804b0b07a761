"""mamba_ssm's functions of Mamba-2: packing, states, norms and errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall_kernels import ssd_scan
from evenfall_mamba.ssm import convolution, dual, gated_norm, heads, step


def _signals(batch: int = 1, length: int = 12) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    B, C = torch.randn(2, batch, length, 1, 8, generator=g)
    return {
        "x": torch.randn(batch, length, 4, 16, generator=g),
        "dt": torch.randn(batch, length, 4, generator=g),
        "A": -torch.rand(4, generator=g), "B": B, "C": C, "D": torch.randn(4, generator=g),
    }  # fmt: skip


def test_states_of_packed_sequences() -> None:
    p, initial = _signals(), torch.randn(1, 4, 16, 8)
    bounds = torch.tensor([0, 5, 12])
    y, final, states = dual.mamba_chunk_scan_combined(
        **p, chunk_size=4, dt_softplus=True, initial_states=initial, cu_seqlens=bounds,
        return_final_states=True, return_varlen_states=True,
    )  # fmt: skip
    start = torch.cat([initial, torch.zeros_like(initial)])
    want, last = ssd_scan(
        **p, dt_softplus=True, initial_state=start, cu_seqlens=bounds, return_last_state=True
    )
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(states, last)
    torch.testing.assert_close(final, last[1:])
    with pytest.raises(ValueError, match="cu_seqlens must be given"):
        dual.mamba_chunk_scan_combined(**p, chunk_size=4, return_varlen_states=True)


def test_several_packed_rows() -> None:
    p, initial = _signals(2), torch.randn(2, 4, 16, 8)
    seq_idx = torch.tensor([[3] * 5 + [4] * 7, [0] * 12])
    options: dict[str, Any] = {"chunk_size": 4, "dt_softplus": True, "return_final_states": True}
    y, last = dual.mamba_chunk_scan_combined(
        **p, initial_states=initial, seq_idx=seq_idx, **options
    )

    def part(row: int, start: int, end: int, state: Tensor | None) -> Any:
        signals = {
            k: v[row : row + 1, start:end] if k in ("x", "dt", "B", "C") else v
            for k, v in p.items()
        }
        return dual.mamba_chunk_scan_combined(**signals, initial_states=state, **options)

    (a, _), (b, end), (c, other) = (
        part(0, 0, 5, initial[:1]), part(0, 5, 12, None), part(1, 0, 12, initial[1:])
    )  # fmt: skip
    torch.testing.assert_close(y, torch.cat([torch.cat([a, b], 1), c]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, torch.cat([end, other]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("size", [None, 4])
def test_gated_norms(before: bool, size: int | None) -> None:
    x, z, weight, bias = torch.randn(2, 3, 8).bfloat16(), torch.randn(2, 3, 8), *torch.randn(2, 8)
    inner = x.float() if before else x.float() * F.silu(z)
    groups = inner.view(2, 3, -1, size or 8)
    outer = F.silu(z) if before else 1.0
    rms = (groups / (groups.square().mean(-1, keepdim=True) + 1e-6).sqrt()).flatten(2)
    got = gated_norm.rmsnorm_fn(x, weight, None, z, 1e-6, size, before)
    torch.testing.assert_close(got, (rms * weight * outer).bfloat16())
    layer = F.layer_norm(groups, groups.shape[-1:], eps=1e-6).flatten(2)
    got = gated_norm.layernorm_fn(x, weight, bias, z, 1e-6, size, before)
    torch.testing.assert_close(got, ((layer * weight + bias) * outer).bfloat16())
    plain = gated_norm.rmsnorm_fn(x, weight, None)
    assert (plain.shape, plain.dtype) == (x.shape, x.dtype)
    with pytest.raises(ValueError, match="group_size must divide the 8 channels"):
        gated_norm.rmsnorm_fn(x, weight, None, group_size=3)


def test_headdim_is_needed_with_one_D_per_head() -> None:
    ones = torch.ones(4)
    with pytest.raises(ValueError, match="headdim must be given"):
        dual.mamba_split_conv1d_scan_combined(
            torch.ones(1, 3, 100), torch.ones(80, 4), None, ones, -ones, ones, 4
        )


@pytest.mark.parametrize("name", ["x", "dt", "z"])
def test_a_single_head_may_be_left_out(name: str) -> None:
    """Also of arguments that repeat one value for all channels."""
    state, one = torch.ones(2, 1, 6, 8), torch.ones(1, 1, 1)
    arguments = {
        "x": torch.ones(2, 1, 6), "dt": one.expand(2, 1, 6), "A": (-one).expand(1, 6, 8),
        "B": torch.ones(2, 1, 8), "C": torch.ones(2, 1, 8), "z": torch.ones(2, 1, 6),
    }  # fmt: skip
    want = heads.selective_state_update(state.clone(), **arguments)
    got = heads.selective_state_update(state, **arguments | {name: arguments[name][:, 0]})
    torch.testing.assert_close(got, want)


def test_seq_idx_has_all_rows_and_steps() -> None:
    p = _signals(2)
    for shape in ((1, 12), (2, 11)):
        seq_idx = torch.zeros(shape, dtype=torch.int32)
        with pytest.raises(ValueError, match=r"seq_idx must have shape .* \(2, 12\), got"):
            dual.mamba_chunk_scan_combined(**p, chunk_size=4, seq_idx=seq_idx)
        with pytest.raises(ValueError, match=r"seq_idx must have shape .* \(2, 12\), got"):
            convolution.causal_conv1d_fn(p["dt"].transpose(1, 2), torch.ones(4, 3), None, seq_idx)


@pytest.mark.parametrize("indices", [None, torch.tensor([1, -1])])
@pytest.mark.parametrize("softplus", [True, False])
def test_a_step_by_head_is_the_general_step(indices: Tensor | None, softplus: bool) -> None:
    g = torch.Generator().manual_seed(0)
    state, x = torch.randn(2, 4, 6, 8, generator=g), torch.randn(2, 4, 6, generator=g)
    dt, A = torch.randn(2, 4, 1, generator=g), -torch.rand(4, 1, 1, generator=g)
    B, C = torch.randn(2, 2, 2, 8, generator=g)
    D, bias = torch.randn(2, 4, 1, generator=g)
    repeated = {"dt": dt.expand(-1, -1, 6), "A": A.expand(-1, 6, 8), "D": D.expand(-1, 6)}
    options: dict[str, Any] = {
        "B": B, "C": C, "dt_bias": bias.expand(-1, 6), "dt_softplus": softplus,
        "state_batch_indices": indices,
    }  # fmt: skip
    one, other = state.clone(), state.clone()
    got = heads.selective_state_update(one, x, **repeated, **options)
    copied = {name: tensor.contiguous() for name, tensor in repeated.items()}
    want = step.selective_state_update(other, x, **copied, **options)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(one, other)
