"""The counts of a study equal counts by hand, for each part of a model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from evenfall import registry
from evenfall_sparsity.study.counts import count_model, count_parts

SIZES = {"vocab_size": 41, "embedding_size": 12, "hidden_sizes": [20, 12]}


def model(kind: str, **settings: Any) -> Any:
    registry.trainers.get("egru")  # registers the models with transformers
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES, **settings)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def test_a_dense_lstm_computes_everything() -> None:
    counts = count_parts(model("rnn", cell="lstm"), {"input_ids": torch.zeros(1, 9).long()})
    first = 4 * 12 * 20
    layers = 4 * (20 * 20 + 20 * 12 + 12 * 12)
    assert counts["macs"]["first layer's input"] == {"dense": first, "effective": first}
    # The first state is zero.
    assert counts["macs"]["hidden"]["dense"] == layers
    skipped = 4 * (20 * 20 + 12 * 12) / 9
    assert counts["macs"]["hidden"]["effective"] == pytest.approx(layers - skipped)
    assert counts["macs"]["decoder"] == {"dense": 12 * 41, "effective": 12 * 41}
    assert counts["macs"]["total"]["dense"] == first + layers + 12 * 41
    assert (counts["density"], counts["weights"]) == (1.0, first + layers)
    assert counts["footprint"] == 4 * model("rnn", cell="lstm").num_parameters()


def test_zeros_and_silent_units_are_skipped() -> None:
    egru = model("egru", threshold_mean=0.2)
    with torch.no_grad():
        egru.model.layers[0].recurrent_kernel[:, ::2] = 0
    ids = torch.randint(41, (1, 30))
    counts = count_parts(egru, {"input_ids": ids})
    with torch.no_grad():
        first, second = egru(ids, output_events=True).events
    before = first[0, :-1].sum(1)  # what the recurrent matrix reads
    by_hand = (
        float(before.sum()) * 30  # half of the columns
        + float(first.sum()) * 36
        + float(second[0, :-1].sum()) * 36
    )
    assert counts["macs"]["hidden"]["effective"] == pytest.approx(by_hand / 30)
    fired = float(first.sum() + second.sum())
    assert counts["activity"] == pytest.approx(fired / (30 * (20 + 12)))
    assert counts["macs"]["decoder"]["effective"] == pytest.approx(float(second.sum()) * 41 / 30)
    weights = 60 * 12 + 60 * 20 + 36 * 20 + 36 * 12
    assert counts["density"] == pytest.approx(1 - 600 / weights)


def test_a_model_with_unknown_parts_is_refused() -> None:
    egru = model("egru")
    egru.lm_head = torch.nn.Sequential(torch.nn.Bilinear(12, 12, 41))
    egru.lm_head.forward = lambda y, *_: egru.lm_head[0](y, y)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"the count is incomplete; without a counter: .*Bilinear"):
        count_parts(egru, {"input_ids": torch.zeros(1, 3).long()})


def test_a_trainer_without_examples_gives_no_counts(tmp_path: Path) -> None:
    assert count_model(SimpleNamespace(), tmp_path, tmp_path, "d", "valid") is None
