"""Dropout, zoneout and the activity penalty: on in training, off in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evenfall_egru.models.layer_egru import locked_dropout

RATES = (
    "embedding_dropout", "word_dropout", "hidden_dropout", "output_dropout", "dropconnect",
    "zoneout",
)  # fmt: skip


@pytest.mark.parametrize("name", RATES)
def test_each_acts_in_training_alone(
    make_egru: Callable[..., Any], ids: torch.Tensor, name: str
) -> None:
    model = make_egru(**{name: 0.5})
    assert torch.equal(model(ids).logits, model(ids).logits)
    model.train()
    torch.manual_seed(0)
    first = model(ids).logits
    second = model(ids).logits
    torch.manual_seed(0)
    assert torch.equal(model(ids).logits, first)
    assert not torch.equal(second, first)


@pytest.mark.parametrize("name", [r for r in RATES if r != "zoneout"])
def test_evaluation_has_no_dropout(
    make_egru: Callable[..., Any], ids: torch.Tensor, name: str
) -> None:
    assert torch.equal(make_egru(**{name: 0.5})(ids).logits, make_egru()(ids).logits)


def test_locked_dropout_is_one_mask_a_sequence() -> None:
    torch.manual_seed(0)
    mask = locked_dropout(torch.ones(4, 9, 50), 0.4, None)
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert not torch.equal(mask[0], mask[1])
    torch.testing.assert_close(mask.unique(), torch.tensor([0.0, 1 / 0.6]))


def test_locked_dropout_of_packed_sequences() -> None:
    torch.manual_seed(0)
    mask = locked_dropout(torch.ones(1, 7, 50), 0.4, torch.tensor([0, 3, 7]))[0]
    assert torch.equal(mask[:3], mask[:1].expand(3, -1))
    assert torch.equal(mask[3:], mask[3:4].expand(4, -1))
    assert not torch.equal(mask[0], mask[3])


def test_word_dropout_drops_whole_words_everywhere(make_egru: Callable[..., Any]) -> None:
    model = make_egru(word_dropout=0.4).train()
    torch.manual_seed(0)
    ids = torch.arange(41).repeat(2, 2)  # every word four times
    x = model.model._embed(ids, None)
    mask = (x != 0).any(-1)
    assert x.shape == (2, 82, 12)
    assert torch.equal(mask, mask[:1, :41].repeat(2, 2))
    assert 10 < int(mask[0, :41].sum()) < 38
    scale = model.model.embed_tokens(ids)[mask] / 0.6
    torch.testing.assert_close(x[mask], scale)


def test_dropconnect_drops_recurrent_weights_alone(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    """The first step reads no recurrent weights; the call has a single mask."""
    model = make_egru(dropconnect=0.5, hidden_sizes=[12]).train()
    first, second = (model(ids).logits for _ in range(2))
    torch.testing.assert_close(first[:, 0], second[:, 0])
    assert not torch.allclose(first[:, 1:], second[:, 1:])
    twice = model(ids[:1].repeat(2, 1)).logits
    torch.testing.assert_close(twice[0], twice[1])


def test_activity_penalty_is_added_to_the_loss(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    plain, penalised = make_egru().train(), make_egru(activity_regularization=0.7).train()
    for skip in (False, True):
        want = plain(ids, labels=ids, output_events=True, skip_logits=skip)
        got = penalised(ids, labels=ids, skip_logits=skip)
        torch.testing.assert_close(got.loss, want.loss + 0.7 * sum(want.activity))
        assert got.events is None
    penalised.eval()
    torch.testing.assert_close(penalised(ids, labels=ids).loss, plain(ids, labels=ids).loss)


def test_activity_penalty_is_shared_between_the_parts_of_a_batch(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    """Gradient accumulation, or several ranks: the parts add up to the loss of the whole."""
    model = make_egru(activity_regularization=0.7).train()
    whole = model(ids, labels=ids).loss
    parts = [model(part, labels=part, num_items_in_batch=48).loss for part in ids.split([1, 2])]
    torch.testing.assert_close(sum(parts), whole)


def test_activity_penalty_lowers_activity(make_egru: Callable[..., Any], ids: torch.Tensor) -> None:
    """A few steps on the penalty alone give fewer events."""
    model = make_egru(threshold_mean=0.1).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rates = []
    for _ in range(15):
        penalty = sum(model(ids, output_events=True).activity)
        rates.append(float(penalty.detach()))
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
    assert rates[-1] < 0.8 * rates[0]


def test_activity_is_the_rate_of_events(make_egru: Callable[..., Any], ids: torch.Tensor) -> None:
    """Also with padding, which does not count."""
    model = make_egru()
    mask = torch.ones_like(ids)
    mask[0, :9] = 0
    out = model(ids, attention_mask=mask, output_events=True)
    for rate, events, units in zip(out.activity, out.events, (20, 12), strict=True):
        assert set(events.unique().tolist()) == {0.0, 1.0}
        torch.testing.assert_close(rate, events[mask == 1].sum() / (mask.sum() * units))
    y = model.model(ids, attention_mask=mask).last_hidden_state
    assert torch.equal(out.events[-1] != 0, y != 0)
