"""Packed sequences stay apart in whole models, however their bounds are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from torch import Tensor

import evenfall

from ..conftest import MAKERS, cache_name, make_model

CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}
LENGTHS = (5, 7)
BOUNDS = torch.tensor([0, 5, 12])
SEQ_IDX = torch.tensor([[0] * 5 + [1] * 7])
POSITIONS = torch.tensor([[*range(5), *range(7)]])
WAYS = {
    "seq_idx": {"seq_idx": SEQ_IDX}, "cu_seqlens": {"cu_seqlens": BOUNDS},
    "cu_seq_lens_q": {"cu_seq_lens_q": BOUNDS}, "position_ids": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def row() -> Tensor:
    return torch.randint(3, 50, (1, 12), generator=torch.Generator().manual_seed(1))


def separate(model: Any, row: Tensor) -> Tensor:
    pieces = row.split(LENGTHS, dim=1)
    return torch.cat([model(piece, use_cache=False).logits for piece in pieces], 1)


@torch.no_grad()
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("way", WAYS)
def test_models_keep_them_apart(name: str, way: str, row: Tensor) -> None:
    model = make_model(name)
    with evenfall.patch("mamba", targets=["transformers"]):
        packed = model(row, use_cache=False, position_ids=POSITIONS, **WAYS[way]).logits
        torch.testing.assert_close(packed, separate(model, row), **CLOSE)


@torch.no_grad()
def test_transformers_itself_mixes_them(row: Tensor) -> None:
    model = make_model("Mamba")
    packed = model(row, use_cache=False, seq_idx=SEQ_IDX).logits
    assert (packed - separate(model, row)).abs().max() > 1e-2


@torch.no_grad()
def test_the_state_after_them_is_that_of_the_last(row: Tensor) -> None:
    model, token = make_model("FalconMamba"), row[:, :1]
    with evenfall.patch("mamba", targets=["transformers"]):
        out = model(row, use_cache=True, seq_idx=SEQ_IDX)
        key = cache_name(model)
        after = model(token, use_cache=True, **{key: out[key]}).logits
        want = model(torch.cat([row[:, 5:], token], 1)).logits[:, -1:]
    torch.testing.assert_close(after, want, **CLOSE)


@torch.no_grad()
def test_the_next_call_is_not_packed(row: Tensor) -> None:
    model = make_model("Mamba")
    with evenfall.patch("mamba", targets=["transformers"]):
        want = model(row).logits
        model(row, seq_idx=SEQ_IDX)
        torch.testing.assert_close(model(row).logits, want, rtol=0, atol=0)
        counting = torch.arange(12)[None]
        torch.testing.assert_close(model(row, position_ids=counting).logits, want, rtol=0, atol=0)


@torch.no_grad()
def test_rows_that_end_in_padding(row: Tensor) -> None:
    model, mask = make_model("Mamba"), torch.ones(1, 14, dtype=torch.long)
    mask[:, 12:] = 0
    padded = torch.cat([row, torch.zeros(1, 2, dtype=torch.long)], 1)
    seq_idx = torch.cat([SEQ_IDX, torch.full((1, 2), -1)], 1)
    with evenfall.patch("mamba", targets=["transformers"]):
        got = model(padded, seq_idx=seq_idx, attention_mask=mask, use_cache=False).logits
        torch.testing.assert_close(got[:, :12], separate(model, row), **CLOSE)
        with pytest.raises(ValueError, match="attention_mask must have no zeros"):
            model(padded, seq_idx=seq_idx, attention_mask=mask, use_cache=True)


@torch.no_grad()
def test_a_model_that_was_placed_on_devices_before(row: Tensor) -> None:
    model = make_model("Mamba")
    cpu_offload(model, execution_device=torch.device("cpu"))
    with evenfall.patch("mamba", targets=["transformers"]):
        packed = model(row, use_cache=False, seq_idx=SEQ_IDX).logits
        torch.testing.assert_close(packed, separate(model, row), **CLOSE)


@pytest.mark.parametrize("name", ["Mamba", "FalconMamba", "Jamba"])
def test_packed_training_with_gradient_checkpointing(
    name: str, row: Tensor, checkpoint_activations: Callable[[Any], None]
) -> None:
    model = make_model(name).train()
    options = {"labels": row, "position_ids": POSITIONS, "use_cache": False}

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(row, **options).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    with evenfall.patch("mamba", targets=["transformers"]):
        want = gradients()
        checkpoint_activations(model)
        torch.testing.assert_close(gradients(), want)
