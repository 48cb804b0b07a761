"""Arguments of forward: an unknown one is an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers.utils import TransformersKwargs

from evenfall_egru import EgruForCausalLM, EgruForSequenceClassification, EgruModel

MODELS = [EgruForCausalLM, EgruModel, EgruForSequenceClassification]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("attention_maks", "attention_mask"),
        ("position_id", "position_ids"),
        ("cu_seqlens_q", "cu_seq_lens_q"),
        ("output_event", "output_events"),
        ("num_item_in_batch", "num_items_in_batch"),
    ],
)
def test_a_misspelt_argument_is_named_with_the_closest(
    make_egru: Callable[..., Any], ids: torch.Tensor, model: type, name: str, known: str
) -> None:
    words = rf"{model.__name__}.forward\(\) has no argument '{name}'; closest: '{known}'"
    with pytest.raises(TypeError, match=words):
        make_egru(model)(ids, **{name: torch.ones(3, 17)})


@pytest.mark.parametrize("model", MODELS)
def test_no_known_argument_is_close(
    make_egru: Callable[..., Any], ids: torch.Tensor, model: type
) -> None:
    with pytest.raises(TypeError, match=r"has no argument 'a[^b]{,80}$"):
        make_egru(model)(ids, **{"a" * 5000: 1})
    with pytest.raises(TypeError, match=r"has no argument 'xyzzy'$"):
        make_egru(model)(ids, xyzzy=0)
    with pytest.raises(TypeError, match="has no argument 'token_type_ids'"):
        make_egru(model)(ids, token_type_ids=torch.zeros_like(ids))


def test_what_only_the_language_model_knows(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    for model in (EgruModel, EgruForSequenceClassification):
        with pytest.raises(TypeError, match="no argument 'logits_to_keep'"):
            make_egru(model)(ids, logits_to_keep=1)
    with pytest.raises(TypeError, match="no argument 'labels'"):
        make_egru(EgruModel)(ids, labels=ids)


@torch.no_grad()
@pytest.mark.parametrize("model", MODELS)
def test_what_hosts_pass_to_every_model_has_no_effect(
    make_egru: Callable[..., Any], ids: torch.Tensor, model: type
) -> None:
    egru = make_egru(model)
    named = {"position_ids", "seq_idx", "output_hidden_states"}
    packing = {name for name in TransformersKwargs.__annotations__ if "_length_" in name}
    packing |= {"cu_seq_lens_q", "cu_seq_lens_k"}
    without = {n: True for n in TransformersKwargs.__annotations__ if n not in named | packing}
    assert {"num_items_in_batch", "output_attentions"} <= set(without)
    off = {"token_type_ids": None, "xyzzy": False, "task_ids": None}
    assert torch.equal(egru(ids, **without, **off)[0], egru(ids)[0])


@pytest.mark.parametrize("model", MODELS)
def test_ids_and_embeddings_exclude_each_other(
    make_egru: Callable[..., Any], ids: torch.Tensor, model: type
) -> None:
    egru = make_egru(model)
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds, got neither"):
        egru()
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds, got both"):
        egru(ids, inputs_embeds=torch.zeros(3, 17, 12))


@pytest.mark.parametrize("model", MODELS)
def test_other_shapes_are_named(make_egru: Callable[..., Any], model: type) -> None:
    egru = make_egru(model)
    with pytest.raises(ValueError, match=r"input_ids must have shape \(batch, time\), got \(5,\)"):
        egru(torch.arange(5))
    with pytest.raises(ValueError, match=r"input_ids must have .* got \(1, 2, 3\)"):
        egru(torch.zeros(1, 2, 3, dtype=torch.long))
    words = r"inputs_embeds must have shape \(batch, time, width\), got \(5, 12\)"
    with pytest.raises(ValueError, match=words):
        egru(inputs_embeds=torch.zeros(5, 12))
    words = "inputs_embeds must have 12 features, the embedding_size, got 13"
    with pytest.raises(ValueError, match=words):
        egru(inputs_embeds=torch.zeros(1, 5, 13))


@pytest.mark.parametrize("model", MODELS)
def test_reading_backwards_is_refused(
    make_egru: Callable[..., Any], ids: torch.Tensor, model: type
) -> None:
    with pytest.raises(ValueError, match="is_causal must be True or None, got False"):
        make_egru(model)(ids, is_causal=False)
