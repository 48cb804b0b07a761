"""Patched Mamba-2 models agree with unpatched ones, and keep packed sequences apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

import evenfall
from evenfall_mamba.huggingface import mamba2
from evenfall_mamba.ssm import heads

from ..conftest import cache_name, make_model
from .mamba2_models import MAKERS

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}
LENGTHS = (5, 7)
SEQ_IDX = torch.tensor([[0] * 5 + [1] * 7])
POSITIONS = torch.tensor([[*range(5), *range(7)]])
NO_OLD_NAMES = pytest.mark.filterwarnings("error:.*is deprecated:FutureWarning")
"""The patch itself calls a model with the names of its version of transformers."""


@pytest.fixture(params=list(MAKERS), scope="module")
def model(request: pytest.FixtureRequest) -> Any:
    return make_model(request.param, MAKERS)


@pytest.fixture(scope="module")
def ids() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, 50, (2, 12), generator=generator)


def _positions(model: Any) -> dict[str, Tensor]:
    return {} if model.config.model_type == "mamba2" else {"position_ids": POSITIONS}


@torch.no_grad()
def test_logits_are_the_same(model: Any, ids: Tensor) -> None:
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    want, padded = model(ids).logits, model(ids, attention_mask=mask).logits
    with evenfall.patch("mamba", targets=["transformers"]):
        torch.testing.assert_close(model(ids).logits, want, **CLOSE)
        got = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(got[0, 3:], padded[0, 3:], **CLOSE)
    torch.testing.assert_close(got[1], padded[1], **CLOSE)


@NO_OLD_NAMES
@torch.no_grad()
def test_generation_is_the_same(model: Any, ids: Tensor) -> None:
    settings = {
        "max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False,
        "attention_mask": torch.ones_like(ids),
    }  # fmt: skip
    want = model.generate(ids, **settings)
    with evenfall.patch("mamba", targets=["transformers"]):
        assert torch.equal(model.generate(ids, **settings), want)


@NO_OLD_NAMES
@torch.no_grad()
def test_state_is_carried_over_calls_of_any_size(model: Any, ids: Tensor) -> None:
    whole, key = model(ids).logits, cache_name(model)
    with evenfall.patch("mamba", targets=["transformers"]):
        state, parts, start = {}, [], 0
        for piece in ids.split([4, 1, 2, 1, 4], dim=1):
            places = torch.arange(start, start + piece.shape[1])[None]  # Bamba forgets the start
            positions = {"position_ids": places} if _positions(model) else {}
            out = model(piece, use_cache=True, **state, **positions)
            state, start = {key: out[key]}, start + piece.shape[1]
            parts.append(out.logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, **CLOSE)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_the_same(model: Any, ids: Tensor, training: bool) -> None:
    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        torch.manual_seed(0)
        model(ids, labels=ids).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    model.train(training)
    want = gradients()
    with evenfall.patch("mamba", targets=["transformers"]):
        got = gradients()
    model.eval()
    assert got.keys() == want.keys()
    for name, grad in got.items():
        scale = float(want[name].abs().max().clamp(min=1e-2))
        torch.testing.assert_close(
            grad / scale, want[name] / scale, **CLOSE, msg=lambda text, name=name: f"{name}: {text}"
        )


@torch.no_grad()
def test_packed_sequences_stay_apart(model: Any, ids: Tensor) -> None:
    mask: dict[str, Any] = {}
    if model.config.model_type == "granitemoehybrid":  # its attention ignores position_ids
        block = torch.block_diag(*(torch.ones(n, n).tril() for n in LENGTHS)).bool()
        mask = {"attention_mask": {"full_attention": block[None, None], "linear_attention": None}}
    if model.config.model_type != "mamba2":  # Mamba2ForCausalLM drops seq_idx silently
        with pytest.raises(ValueError, match="can't keep packed sequences apart"):
            model(ids[:1], seq_idx=SEQ_IDX, use_cache=False)
    with evenfall.patch("mamba", targets=["transformers"]):
        packed = model(
            ids[:1], seq_idx=SEQ_IDX, use_cache=False, **_positions(model), **mask
        ).logits
        pieces = ids[:1].split(LENGTHS, dim=1)
        separate = torch.cat([model(piece, use_cache=False).logits for piece in pieces], 1)
    torch.testing.assert_close(packed, separate, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cu_seqlens", "cu_seq_lens_q"])
def test_bounds_of_sequences_are_taken_as_well(ids: Tensor, name: str) -> None:
    model = make_model("NemotronH", MAKERS)
    bounds = {name: torch.tensor([0, 5, 12])}
    with evenfall.patch("mamba", targets=["transformers"]):
        got = model(ids[:1], use_cache=False, position_ids=POSITIONS, **bounds).logits
        want = model(ids[:1], use_cache=False, position_ids=POSITIONS, seq_idx=SEQ_IDX).logits
    torch.testing.assert_close(got, want)


def test_packed_training_with_gradient_checkpointing(
    ids: Tensor, checkpoint_activations: Callable[[Any], None]
) -> None:
    model, both = make_model("Mamba2", MAKERS).train(), SEQ_IDX.expand(2, -1)

    def gradients() -> list[Tensor]:
        model.zero_grad()
        loss = model(ids, labels=ids, seq_idx=both).loss
        loss.backward()
        return [p.grad.clone() for p in model.parameters()]

    with evenfall.patch("mamba", targets=["transformers"]):
        want = gradients()
        checkpoint_activations(model)
        torch.testing.assert_close(gradients(), want)


def test_gradient_checkpointing_computes_each_layer_again(
    model: Any, ids: Tensor, checkpoint_activations: Callable[[Any], None]
) -> None:
    """transformers 5.24 leaves a block out, without a word, whose forward is not its own."""
    model, runs = copy.deepcopy(model).train(), []
    mixers = [m for m in model.modules() if type(m).__name__.endswith(("Mixer", "MambaLayer"))]
    mixers = [m for m in mixers if hasattr(m, "A_log")]
    for mixer in mixers:
        mixer.register_forward_pre_hook(lambda *_: runs.append(1))
    with evenfall.patch("mamba", targets=["transformers"]):
        checkpoint_activations(model)
        model(ids, use_cache=False).logits.sum().backward()
    assert len(runs) == 2 * len(mixers) > 0


@torch.no_grad()
def test_several_packed_rows_and_their_last_states(ids: Tensor) -> None:
    """Each row continues its first sequence; the state after it is that of its last."""
    x, dt = torch.randn(2, 12, 4, 16), torch.randn(2, 12, 4)
    B, C = torch.randn(2, 2, 12, 2, 8)
    A, state = -torch.rand(4), torch.randn(2, 4, 16, 8)
    seq_idx = torch.tensor([[3] * 5 + [4] * 7, [0] * 12])
    options: dict[str, Any] = {"dt_softplus": True, "return_final_states": True}
    out, last = mamba2.mamba2_chunk_scan(
        x, dt, A, B, C, 4, initial_states=state, seq_idx=seq_idx, **options
    )
    row, first, rest = slice(0, 1), slice(0, 5), slice(5, 12)
    signals = (x, dt, A, B, C)

    def part(rows: slice, steps: slice, start: Tensor | None) -> tuple[Tensor, Tensor]:
        parts = (t if t is A else t[rows, steps] for t in signals)
        return mamba2.mamba2_chunk_scan(*parts, 4, initial_states=start, **options)  # type: ignore[no-any-return]

    a, _ = part(row, first, state[:1])
    b, last_b = part(row, rest, None)
    c, last_c = part(slice(1, 2), slice(0, 12), state[1:])
    torch.testing.assert_close(out, torch.cat([torch.cat([a, b], 1), c]), **CLOSE)
    torch.testing.assert_close(last, torch.cat([last_b, last_c]), **CLOSE)


@torch.no_grad()
def test_a_token_uses_one_decay_a_head(ids: Tensor) -> None:
    """Repeating A for all channels and states would read and exponentiate N P times as much."""
    model = make_model("FalconH1", MAKERS)
    with evenfall.patch("mamba", targets=["transformers"]):
        cache = model(ids, use_cache=True)
        with mock.patch.object(heads, "general_update") as general:
            key = cache_name(model)
            model(ids[:, :1], use_cache=True, **{key: cache[key]})
    general.assert_not_called()


@torch.no_grad()
def test_a_step_with_a_decay_per_channel_is_right(ids: Tensor) -> None:
    state, x, dt = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3), torch.rand(1, 2, 3)
    A, B, C = -torch.rand(2, 3, 4), *torch.randn(2, 1, 1, 4)
    want = (dt[..., None] * A).exp() * state + (dt * x)[..., None] * B[:, :, None]
    out = mamba2.mamba2_selective_state_update(state, x, dt, A, B, C)
    torch.testing.assert_close(state, want)
    torch.testing.assert_close(out, (want * C[:, :, None]).sum(-1))


@torch.no_grad()
def test_bamba_itself_forgets_where_a_call_starts(ids: Tensor) -> None:
    """Its model numbers the positions of every call from 0, so attention after a cache is wrong
    unless the caller passes position_ids, as `generate` does. The patch changes nothing here."""
    model = make_model("Bamba", MAKERS)
    key, whole = cache_name(model), model(ids).logits[:, 8:]
    errors = []
    for positions in ({}, {"position_ids": torch.arange(8, 12)[None]}):
        cache = model(ids[:, :8], use_cache=True)[key]
        out = model(ids[:, 8:], use_cache=True, **{key: cache}, **positions)
        errors.append(float((out.logits - whole).abs().max()))
    assert errors[1] < 1e-5 < 1e-4 < errors[0]
