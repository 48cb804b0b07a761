"""Sequence classification: padding without a mask, the activity penalty, and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import DynamicCache, StaticCache

from evenfall_egru import EgruForSequenceClassification, EgruForTokenClassification
from evenfall_egru.models.padding_egru import mask_of_ids

PAD = 7
TEXTS = ([1, 2, 3, 4], [5, PAD, 6], [8])


def classifier(make_egru: Callable[..., Any], **settings: Any) -> Any:
    return make_egru(EgruForSequenceClassification, embedding_range=1.0, num_labels=3, **settings)


def pad_texts(side: str) -> torch.Tensor:
    rows = []
    for text in TEXTS:
        padding = [PAD] * (6 - len(text))
        rows.append(text + padding if side == "right" else padding + text)
    return torch.tensor(rows)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_pad_tokens_without_a_mask_are_padding(make_egru: Callable[..., Any], side: str) -> None:
    """The same as with the mask, and as each text alone; a pad token within a text is text."""
    model, ids = classifier(make_egru, pad_token_id=PAD), pad_texts(side)
    alone = torch.cat([model(torch.tensor([text])).logits for text in TEXTS])
    torch.testing.assert_close(model(ids).logits, alone)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(TEXTS):
        mask[row, slice(6 - len(text), 6) if side == "left" else slice(len(text))] = 1
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, alone)


@torch.no_grad()
def test_a_given_mask_wins(make_egru: Callable[..., Any]) -> None:
    model, ids = classifier(make_egru, pad_token_id=PAD), pad_texts("right")
    plain = classifier(make_egru)
    got = model(ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(got, plain(ids).logits)


@torch.no_grad()
def test_the_last_token_counts_where_no_pad_token_is_known(make_egru: Callable[..., Any]) -> None:
    model, ids = classifier(make_egru), pad_texts("right")
    want = model.score(model.model(ids).last_hidden_state[:, -1])
    torch.testing.assert_close(model(ids).logits, want)


@torch.no_grad()
def test_embeddings_cannot_show_padding(
    make_egru: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evenfall_egru.models import classification_egru

    messages: list[str] = []
    monkeypatch.setattr(classification_egru.logger, "warning_once", messages.append)
    model, ids = classifier(make_egru, pad_token_id=PAD), pad_texts("right")
    embeds = model.model.embed_tokens(ids)
    model(inputs_embeds=embeds[:1])
    model(inputs_embeds=embeds, attention_mask=torch.ones_like(ids))
    assert messages == []
    model(inputs_embeds=embeds)
    assert "cannot find padding in inputs_embeds" in messages[0]


def test_mask_of_ids() -> None:
    rows = [[7, 7, 1, 7, 2, 7], [1, 2, 3, 4, 5, 6], [7, 7, 7, 7, 7, 7], [7, 1, 7, 7, 7, 7]]
    want = [[0, 0, 1, 1, 1, 0], [1] * 6, [1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]
    assert mask_of_ids(torch.tensor(rows), 7).int().tolist() == want
    assert mask_of_ids(torch.zeros(2, 0, dtype=torch.long), 7).shape == (2, 0)


def test_activity_penalty_is_added_to_the_loss(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    plain = classifier(make_egru).train()
    penalised = classifier(make_egru, activity_regularization=0.7).train()
    labels = torch.tensor([0, 2, 1])
    want = plain(ids, labels=labels, output_events=True)
    assert float(sum(want.activity).detach()) > 0.05
    got = penalised(ids, labels=labels)
    torch.testing.assert_close(got.loss, want.loss + 0.7 * sum(want.activity))
    assert got.events is None
    kernel = penalised.model.layers[0].kernel
    (gradient,) = torch.autograd.grad(got.loss, kernel)
    whole = want.loss + 0.7 * sum(want.activity)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(whole, plain.model.layers[0].kernel)[0]
    )
    penalised.eval()
    torch.testing.assert_close(
        penalised(ids, labels=labels).loss, plain.eval()(ids, labels=labels).loss
    )


@pytest.mark.parametrize("labels", [torch.tensor([0, 2, 1]), torch.rand(3), torch.rand(3, 3)])
def test_loss_and_penalty_are_shared_between_the_parts_of_a_batch(
    make_egru: Callable[..., Any], ids: torch.Tensor, labels: torch.Tensor
) -> None:
    """Gradient accumulation, or several ranks: the parts add up to the loss of the whole."""
    outputs = 1 if labels.shape == (3,) and labels.is_floating_point() else 3
    model = make_egru(
        EgruForSequenceClassification, num_labels=outputs, activity_regularization=0.7
    ).train()
    whole = model(ids, labels=labels).loss
    parts = [
        model(ids[rows], labels=labels[rows], num_items_in_batch=torch.tensor(labels.numel())).loss
        for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(parts), whole)


@torch.no_grad()
def test_events_and_activity(make_egru: Callable[..., Any], ids: torch.Tensor) -> None:
    out = classifier(make_egru)(ids, output_events=True)
    assert [events.shape for events in out.events] == [(3, 17, 20), (3, 17, 12)]
    for rate, events in zip(out.activity, out.events, strict=True):
        torch.testing.assert_close(rate, events.mean())
    assert classifier(make_egru)(ids).activity is None


def token_classifier(make_egru: Callable[..., Any], **settings: Any) -> Any:
    return make_egru(EgruForTokenClassification, embedding_range=1.0, num_labels=3, **settings)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_tokens_are_classified_without_their_padding(
    make_egru: Callable[..., Any], side: str
) -> None:
    """Logits of each token as in its text alone; labels of padding do not count."""
    model, ids = token_classifier(make_egru, pad_token_id=PAD), pad_texts(side)
    logits, labels = model(ids).logits, ids % 3
    losses = []
    for row, text in enumerate(TEXTS):
        alone = model(torch.tensor([text])).logits[0]
        real = slice(6 - len(text), 6) if side == "left" else slice(len(text))
        torch.testing.assert_close(logits[row, real], alone)
        target = torch.tensor(text) % 3
        losses.append(torch.nn.functional.cross_entropy(alone, target, reduction="none"))
    got = model(ids, labels=labels).loss
    torch.testing.assert_close(got, torch.cat(losses).mean())


@torch.no_grad()
def test_tokens_of_packed_texts_are_classified_as_alone(make_egru: Callable[..., Any]) -> None:
    model, texts = token_classifier(make_egru), ([1, 2, 3], [4, 5])
    alone = torch.cat([model(torch.tensor([text])).logits for text in texts], 1)
    positions = torch.tensor([[0, 1, 2, 0, 1]])
    got = model(torch.tensor([[1, 2, 3, 4, 5]]), position_ids=positions).logits
    torch.testing.assert_close(got, alone)


@torch.no_grad()
def test_a_cache_continues_the_classification_of_tokens(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    from transformers import DynamicCache

    model = token_classifier(make_egru)
    cache = DynamicCache(config=model.config)
    pieces = [
        model(part, past_key_values=cache, use_cache=True).logits for part in ids.split(6, dim=1)
    ]
    torch.testing.assert_close(torch.cat(pieces, 1), model(ids).logits)


def test_loss_and_penalty_of_tokens_are_shared_between_the_parts_of_a_batch(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    plain = token_classifier(make_egru).train()
    model = token_classifier(make_egru, activity_regularization=0.7).train()
    labels = (ids % 3).masked_fill(ids > 30, -100)
    want = plain(ids, labels=labels, output_events=True)
    whole = model(ids, labels=labels).loss
    torch.testing.assert_close(whole, want.loss + 0.7 * sum(want.activity))
    items = (labels != -100).sum()
    parts = [
        model(ids[rows], labels=labels[rows], num_items_in_batch=items)
        for rows in (slice(0, 1), slice(1, 3))
    ]
    shares = [(labels[rows] != -100).sum() / items for rows in (slice(0, 1), slice(1, 3))]
    cross_entropy = sum(
        part.loss - 0.7 * share * sum(part.activity)
        for part, share in zip(parts, shares, strict=True)
    )
    torch.testing.assert_close(cross_entropy, want.loss)


@torch.no_grad()
@pytest.mark.parametrize("kind", [DynamicCache, StaticCache])
def test_a_text_that_has_ended_keeps_its_logits(make_egru: Callable[..., Any], kind: Any) -> None:
    """A batch is read in parts; one text ends in the first of them."""
    model = classifier(make_egru, threshold_mean=0.1)
    ids = torch.randint(41, (2, 8), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0
    cache = kind(config=model.config, **({"max_cache_len": 8} if kind is StaticCache else {}))
    model(ids[:, :5], attention_mask=mask[:, :5], past_key_values=cache)
    got = model(ids[:, 5:], attention_mask=mask, past_key_values=cache).logits
    want = model(ids, attention_mask=mask, use_cache=False).logits
    torch.testing.assert_close(got, want)
    assert want[1].any()


def test_texts_without_tokens_are_refused(make_egru: Callable[..., Any]) -> None:
    empty = torch.zeros(2, 0, dtype=torch.long)
    mask = torch.tensor([[1, 0, 0], [0, 0, 0]])
    model, ids = classifier(make_egru), torch.ones(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="got an attention_mask with zeros alone in row 1"):
        model(ids, attention_mask=mask)
    with pytest.raises(ValueError, match=r"at least one token to classify, got shape \(2, 0\)"):
        classifier(make_egru)(empty)
    assert token_classifier(make_egru)(empty).logits.shape == (2, 0, 3)


@pytest.mark.parametrize("model", [EgruForSequenceClassification, EgruForTokenClassification])
def test_a_model_that_is_fed_vectors_has_no_embedding(
    make_egru: Callable[..., Any], model: type, tmp_path: Any
) -> None:
    """Every parameter gets a gradient, as DistributedDataParallel demands."""
    made = make_egru(model, vocab_size=0, num_labels=3).train()
    assert not [name for name, _ in made.named_parameters() if "embed" in name]
    made(inputs_embeds=torch.randn(2, 5, 12)).logits.sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    with pytest.raises(ValueError, match="got vocab_size 0: pass inputs_embeds"):
        made(torch.zeros(1, 2, dtype=torch.long))
    made.save_pretrained(tmp_path)
    x = torch.randn(1, 4, 12)
    with torch.no_grad():
        loaded = model.from_pretrained(tmp_path).eval()(inputs_embeds=x).logits
        torch.testing.assert_close(loaded, made.eval()(inputs_embeds=x).logits)


def test_a_language_model_needs_a_vocabulary(make_egru: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="vocab_size must be at least 1 for a language model"):
        make_egru(vocab_size=0)


@pytest.mark.parametrize("model", [EgruForSequenceClassification, EgruForTokenClassification])
def test_output_dropout_is_used_in_training(make_egru: Callable[..., Any], model: type) -> None:
    made = make_egru(model, output_dropout=0.999, num_labels=3, embedding_range=1.0)
    ids = torch.arange(12).view(2, 6)
    assert float(made(ids).logits.detach().abs().sum()) > 0
    torch.manual_seed(0)
    assert float(made.train()(ids).logits.detach().abs().sum()) == 0


def test_weights_of_other_shapes_raise_the_error_of_transformers(
    make_egru: Callable[..., Any], tmp_path: Any
) -> None:
    """A RuntimeError, and a ValueError as for other wrong files."""
    classifier(make_egru).save_pretrained(tmp_path)
    for kind in (RuntimeError, ValueError):
        with pytest.raises(kind, match=r"shape mismatch in .*score.weight"):
            EgruForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
