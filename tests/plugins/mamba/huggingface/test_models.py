"""Patched models agree with unpatched ones, and keep the state that those lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import evenfall

CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}


def gradients(model: Any, ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    loss = model(ids, labels=ids).loss
    loss.backward()
    named = model.named_parameters()
    return loss.detach(), {name: p.grad.clone() for name, p in named if p.grad is not None}


@torch.no_grad()
def test_logits_are_the_same(model: Any, ids: Tensor) -> None:
    want = model(ids).logits
    with evenfall.patch("mamba"):
        torch.testing.assert_close(model(ids).logits, want, **CLOSE)


@torch.no_grad()
def test_logits_are_the_same_with_left_padding(model: Any, ids: Tensor) -> None:
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    want = model(ids, attention_mask=mask).logits
    with evenfall.patch("mamba"):
        got = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(got[0, 3:], want[0, 3:], **CLOSE)
    torch.testing.assert_close(got[1], want[1], **CLOSE)


@torch.no_grad()
def test_state_is_carried_over_calls_of_several_tokens(
    model: Any, ids: Tensor, logits_in_pieces: Callable[..., Tensor]
) -> None:
    whole = model(ids).logits
    assert (logits_in_pieces(model, ids, [8, 4]) - whole).abs().max() > 1e-3, (
        "transformers no longer loses the state"
    )
    with evenfall.patch("mamba"):
        one_by_one = logits_in_pieces(model, ids, [8, 1, 1, 1, 1])
        chunk = logits_in_pieces(model, ids, [8, 4])
        pieces = logits_in_pieces(model, ids, [1, 2, 1, 5, 3])
    torch.testing.assert_close(chunk, one_by_one, **CLOSE)
    torch.testing.assert_close(chunk, whole, **CLOSE)
    torch.testing.assert_close(pieces, whole, **CLOSE)


def test_state_is_carried_where_gradients_are_recorded(
    model: Any, ids: Tensor, logits_in_pieces: Callable[..., Tensor]
) -> None:
    with evenfall.patch("mamba"):
        logits = logits_in_pieces(model, ids, [8, 3, 1])
        want = model(ids).logits
    torch.testing.assert_close(logits, want, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"prefill_chunk_size": 4}], ids=str)
def test_generation(model: Any, ids: Tensor, options: dict[str, int]) -> None:
    if "prefill_chunk_size" in options and model.config.model_type in ("mamba", "falcon_mamba"):
        pytest.skip("transformers cannot prefill these in chunks: they have no attention layer")
    settings = {
        "max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False,
        "attention_mask": torch.ones_like(ids),
    }  # fmt: skip
    beams = {"num_beams": options.get("num_beams", 1)}
    want = model.generate(ids, use_cache=False, **settings, **beams)
    with evenfall.patch("mamba"):
        got = model.generate(ids, use_cache=True, **settings, **options)
    assert torch.equal(got, want)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_the_same(model: Any, ids: Tensor, training: bool) -> None:
    model.train(training)
    want_loss, want = gradients(model, ids)
    with evenfall.patch("mamba"):
        loss, got = gradients(model, ids)
    torch.testing.assert_close(loss, want_loss, **CLOSE)
    assert got.keys() == want.keys()
    for name, grad in got.items():
        scale = float(want[name].abs().max().clamp(min=1e-2))
        torch.testing.assert_close(
            grad / scale, want[name] / scale, **CLOSE, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_gradient_checkpointing(
    make_model: Callable[[str], Any], ids: Tensor, checkpoint_activations: Callable[[Any], None]
) -> None:
    model = make_model("Mamba").train()
    with evenfall.patch("mamba"):
        _, want = gradients(model, ids)
        checkpoint_activations(model)
        _, got = gradients(model, ids)
    torch.testing.assert_close(got, want)


def test_training_curves_coincide(make_model: Callable[[str], Any], ids: Tensor) -> None:
    def train() -> list[float]:
        model = make_model("Mamba").train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(12):
            loss = model(ids, labels=ids).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    want = train()
    with evenfall.patch("mamba"):
        got = train()
    assert want[-1] < 0.5 * want[0]
    assert got == pytest.approx(want, rel=1e-3)


@torch.no_grad()
def test_bfloat16(make_model: Callable[[str], Any], ids: Tensor) -> None:
    model = make_model("Mamba")
    want = model(ids).logits
    with evenfall.patch("mamba"):
        got = model.bfloat16()(ids).logits
    assert (got.float() - want).abs().max() < 0.05 * want.abs().max()


@torch.no_grad()
def test_compiles_without_a_graph_break(make_model: Callable[[str], Any], ids: Tensor) -> None:
    model = make_model("Mamba")
    want = model(ids, use_cache=False).logits
    with evenfall.patch("mamba"):
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        got = compiled(ids, use_cache=False).logits
    torch.compiler.reset()
    torch.testing.assert_close(got, want, **CLOSE)
