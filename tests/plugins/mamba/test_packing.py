"""Packed sequences, in one row or several, do not leak into one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

import evenfall
from evenfall_mamba.huggingface.operations import causal_conv1d_fn, causal_conv1d_update
from evenfall_mamba.packing import read_packing

CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}
SEQ_IDX = torch.tensor([[0] * 5 + [1] + [2] * 6], dtype=torch.int32)
FAMILIES = ["Mamba", "FalconMamba", "Jamba", "Zamba"]


def mixer_of(model: Any) -> Any:
    """The first Mamba-1 mixer of a model."""
    return next(m for m in model.modules() if type(m).__name__.endswith("Mixer"))


@pytest.fixture
def hidden() -> Tensor:
    return torch.randn(1, 12, 32, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_packed_equals_separate(
    make_model: Callable[[str], Any], hidden: Tensor, name: str
) -> None:
    mixer = mixer_of(make_model(name))
    with evenfall.patch("mamba"):
        packed = mixer(hidden, seq_idx=SEQ_IDX)
        separate = [mixer(piece) for piece in hidden.split([5, 1, 6], dim=1)]
    torch.testing.assert_close(packed, torch.cat(separate, dim=1), **CLOSE)


@torch.no_grad()
def test_padding_is_zero_after_the_convolution() -> None:
    """As in the package causal_conv1d, which unpatched transformers would call."""
    x, weight = torch.randn(1, 4, 6), torch.randn(4, 3)
    seq_idx = torch.tensor([[0, 0, 1, 1, -1, -1]], dtype=torch.int32)
    for numbers in (seq_idx, seq_idx[:, 1:]):  # for all inputs, or all but one that was cached
        out = causal_conv1d_fn(x, weight, activation="silu", seq_idx=numbers)
        assert not out[..., 4:].any()
        torch.testing.assert_close(
            out[..., 2:4], causal_conv1d_fn(x[..., 2:4], weight, None, "silu")
        )


@torch.no_grad()
def test_several_packed_rows(make_model: Callable[[str], Any]) -> None:
    mixer = mixer_of(make_model("Mamba"))
    rows = torch.randn(2, 12, 32)
    seq_idx = torch.cat([SEQ_IDX, torch.zeros_like(SEQ_IDX)])
    with evenfall.patch("mamba"):
        together = mixer(rows, seq_idx=seq_idx)
        alone = [mixer(rows[:1], seq_idx=SEQ_IDX), mixer(rows[1:])]
    torch.testing.assert_close(together, torch.cat(alone), **CLOSE)


def test_zamba_passes_seq_idx_to_its_mixers(make_model: Callable[[str], Any], ids: Tensor) -> None:
    model, row = make_model("Zamba"), ids[:1]
    received: list[Any] = []
    mixer_of(model).register_forward_pre_hook(
        lambda module, args, kwargs: received.append(kwargs.get("seq_idx")), with_kwargs=True
    )
    with evenfall.patch("mamba"):
        logits = model(row, seq_idx=SEQ_IDX).logits
    assert received[-1] is SEQ_IDX
    assert logits.isfinite().all()


@torch.no_grad()
def test_packed_chunk_continues_the_cache(make_model: Callable[[str], Any], hidden: Tensor) -> None:
    model = make_model("Mamba")
    mixer = mixer_of(model)
    with evenfall.patch("mamba"):
        cache = DynamicCache(config=model.config)
        parts = [
            mixer(hidden[:, :4], cache),
            mixer(hidden[:, 4:10], cache, seq_idx=SEQ_IDX[:, 4:10]),
            mixer(hidden[:, 10:], cache),
        ]
        want = [mixer(piece) for piece in hidden.split([5, 1, 6], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1)[:, :6], torch.cat(want, 1)[:, :6], **CLOSE)
    torch.testing.assert_close(parts[1][:, 2:], want[2][:, :4], **CLOSE)


def test_read_packing() -> None:
    packing = read_packing(torch.tensor([[7, 7, 3], [3, 3, 3]]), 2, 4, cached=True)
    assert packing.cu_seqlens.tolist() == [0, 3, 4, 8]
    assert (packing.first.tolist(), packing.last.tolist()) == ([0, 2], [1, 2])
    signal = torch.arange(16.0).reshape(2, 2, 4)
    assert torch.equal(packing.split(packing.join(signal)), signal)
    assert packing.join(signal)[0, 0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


@pytest.mark.parametrize("shape", [(4,), (2, 0), (2, 3), (2, 5), (1, 4)])
def test_seq_idx_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    seq_idx = torch.zeros(shape, dtype=torch.int32)
    with pytest.raises(
        ValueError, match=r"seq_idx must have shape \(batch, steps\) = \(2, 4\), got \("
    ):
        read_packing(seq_idx, 2, 4)
    if shape != (2, 3):
        with pytest.raises(ValueError, match=r"= \(2, 1 to 4\), got \("):
            read_packing(seq_idx, 2, 4, cached=True)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_step_of_the_convolution_is_as_exact_as_many(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 64, 4, generator=g).to(dtype), torch.randn(64, 4, generator=g)
    weight = weight.to(dtype)
    with evenfall.use_backend("reference"):
        want = causal_conv1d_fn(x, weight)[..., 3:]
    state = torch.cat([torch.zeros(2, 64, 1, dtype=dtype), x[..., :3]], dim=2)
    got = causal_conv1d_update(x[..., 3:], state, weight)
    torch.testing.assert_close(got, want, rtol=1e-12 if dtype == torch.float64 else 2**-8, atol=0)
