"""Cells, traces and penalties of a call, against PyTorch written out step by step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from evenfall_egru import EgruForSequenceClassification, RnnConfig, RnnForCausalLM
from evenfall_egru.models.padding_egru import EndToEnd, RealFirst
from evenfall_egru.models.record_egru import event_trace

PENALTIES = {
    "activity_regularization": 0.3,
    "cell_regularization": 0.7,
    "output_regularization": 1.1,
    "slowness_regularization": 1.3,
}


def by_hand(y: torch.Tensor, decay: float = 0.9) -> torch.Tensor:
    trace, rows = torch.zeros_like(y[:, 0]), []
    for step in range(y.shape[1]):
        trace = decay * trace + (1 - decay) * y[:, step]
        rows.append(trace)
    return torch.stack(rows, 1)


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 150])
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_trace_is_the_recurrence(steps: int, decay: float) -> None:
    y = torch.randn(2, steps, 3, dtype=torch.float64)
    want = by_hand(y, decay)
    torch.testing.assert_close(event_trace(y, decay=decay), want)
    low = event_trace(y.bfloat16(), decay=decay)
    torch.testing.assert_close(low.double(), want, rtol=2e-2, atol=2e-2)
    half = steps // 2
    first = event_trace(y[:, :half], decay=decay)
    last = first[:, -1] if half else None
    second = event_trace(y[:, half:], last, decay=decay)
    torch.testing.assert_close(torch.cat([first, second], 1), want)


def test_the_trace_of_a_packed_text_begins_at_zero() -> None:
    y, ends = torch.randn(1, 200, 3, dtype=torch.float64), [0, 1, 1, 70, 130, 200]
    packed = event_trace(y, cu_seqlens=torch.tensor(ends))
    for first, last in pairwise(ends):
        if last > first:
            torch.testing.assert_close(packed[:, first:last], by_hand(y[:, first:last]))
    with pytest.raises(ValueError, match="initial cannot be combined"):
        event_trace(y, y[:, 0], cu_seqlens=torch.tensor([0, 200]))
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\), got 1"):
        event_trace(y, decay=1)


def test_padding_does_not_change_a_mean_in_a_graph() -> None:
    """A graph has the padding behind the real tokens, a plain call has none."""
    real = torch.rand(4, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    real[0], real[1] = False, torch.arange(9) == 4
    x = torch.randn(4, 9, 3, dtype=torch.float64)
    plain, graph = EndToEnd(real), RealFirst(real)
    for mean in ("mean", "mean_change"):
        # What a layer returns for the padding is not zero.
        y = graph.pack(x) + (torch.arange(9) >= real.sum(1, keepdim=True))[..., None] * 5
        got, want = getattr(graph, mean)(y), getattr(plain, mean)(plain.pack(x))
        torch.testing.assert_close(got, want)
        nothing = RealFirst(torch.zeros_like(real))
        assert float(getattr(nothing, mean)(y)) == 0


def test_cells_give_events_outputs_and_traces(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    model = make_egru()
    out = model(
        ids, output_events=True, output_cells=True, output_traces=True, output_hidden_states=True
    )
    plain = model(ids)
    assert plain.cells is plain.traces is plain.events is None
    assert torch.equal(plain.logits, out.logits)
    for index, layer in enumerate(model.model.layers):
        cells, y = out.cells[index], out.hidden_states[index + 1]
        fired = cells > layer.threshold.clamp(0, 1)
        assert torch.equal(fired, out.events[index] == 1)
        torch.testing.assert_close(y, cells * fired)
        torch.testing.assert_close(out.traces[index], by_hand(y))


def test_padding_and_packed_texts_change_no_cell(make_egru: Callable[..., Any]) -> None:
    model = make_egru(EgruForSequenceClassification, num_labels=3)
    short, long = torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9, 10, 11, 12]])
    flags = {"output_cells": True, "output_traces": True}
    alone = [model(text, **flags) for text in (short, long)]
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    padded = model(torch.cat([torch.nn.functional.pad(short, (2, 0)), long]), mask, **flags)
    packed = model(torch.cat([short, long], 1), cu_seq_lens_q=torch.tensor([0, 3, 8]), **flags)
    for name in ("cells", "traces"):
        for layer in range(2):
            one, two = (getattr(out, name)[layer][0] for out in alone)
            row = getattr(padded, name)[layer]
            torch.testing.assert_close(row[0, 2:], one)
            torch.testing.assert_close(row[1], two)
            assert not row[0, :2].any()
            torch.testing.assert_close(getattr(packed, name)[layer][0], torch.cat([one, two]))


def penalty_by_hand(model: Any, out: Any, target: float | None) -> torch.Tensor:
    total = torch.zeros(())
    for layer, cells, events in zip(model.model.layers, out.cells, out.events, strict=True):
        rates = events.flatten(0, 1).mean(0)
        activity = rates.mean() if target is None else ((rates - target) ** 2).mean()
        threshold = layer.threshold.clamp(0, 1)
        outside = (cells - threshold).clamp(min=0) ** 2 + (-cells - threshold).clamp(min=0) ** 2
        total = total + 0.3 * activity + 0.7 * outside.mean()
    y = out.hidden_states[-1]
    return total + 1.1 * (y**2).mean() + 1.3 * ((y[:, 1:] - y[:, :-1]) ** 2).mean()


@pytest.mark.parametrize("target", [None, 0.05])
def test_the_loss_has_the_penalties_of_the_configuration(
    make_egru: Callable[..., Any], ids: torch.Tensor, target: float | None
) -> None:
    plain = make_egru().train()
    model = make_egru(**PENALTIES, activity_target=target).train()
    flags = {"output_events": True, "output_cells": True, "output_hidden_states": True}
    wanted = penalty_by_hand(plain, plain(ids, **flags), target)
    assert 0.01 < float(wanted.detach()) < 10
    loss = model(ids, labels=ids).loss
    torch.testing.assert_close(loss, plain(ids, labels=ids).loss + wanted)
    loss.backward()
    expected = torch.autograd.grad(plain(ids, labels=ids).loss + wanted, plain.parameters())
    for found, want in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(found.grad, want, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        model.eval()(ids, labels=ids).loss, plain.eval()(ids, labels=ids).loss
    )


def test_packed_and_padded_texts_have_the_penalty_of_their_tokens(
    make_egru: Callable[..., Any],
) -> None:
    """Slowness does not compare the last token of a text with the first one of the next."""
    model = make_egru(**PENALTIES, activity_target=0.1).train()
    texts = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    flags = {"output_penalty": True, "use_cache": False}
    want = model.model(texts, **flags).penalty
    ends = torch.tensor([0, 4, 8])
    torch.testing.assert_close(
        model.model(texts.view(1, 8), cu_seq_lens_q=ends, **flags).penalty, want
    )
    padded = torch.nn.functional.pad(texts, (0, 2))
    mask = torch.nn.functional.pad(torch.ones_like(texts), (0, 2))
    torch.testing.assert_close(model.model(padded, mask, **flags).penalty, want)


def test_a_classifier_and_a_baseline_have_penalties(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    labels = torch.tensor([0, 1, 0])
    losses = [
        make_egru(EgruForSequenceClassification, **settings).train()(ids, labels=labels).loss
        for settings in ({}, {"cell_regularization": 0.5})
    ]
    assert losses[1] > losses[0]
    config = {"vocab_size": 41, "embedding_size": 12, "hidden_sizes": [20, 12]}
    torch.manual_seed(0)
    plain = RnnForCausalLM(RnnConfig(**config)).train()
    y = plain(ids, output_hidden_states=True).hidden_states[-1]
    plain.config.output_regularization = 2.0
    plain.config.slowness_regularization = 3.0
    want = 2 * (y**2).mean() + 3 * (y.diff(dim=1) ** 2).mean()
    found = plain(ids, labels=ids).loss - plain.eval()(ids, labels=ids).loss
    torch.testing.assert_close(found, want)
    with pytest.raises(ValueError, match="output_cells needs an EGRU, got 'lstm'"):
        plain(ids, output_cells=True)


def test_a_target_needs_a_weight(make_egru: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="activity_target needs activity_regularization"):
        make_egru(activity_target=0.1)
    with pytest.raises(ValueError, match=r"activity_target must lie in \[0, 1\), got 1.0"):
        make_egru(activity_target=1.0, activity_regularization=0.1)
