"""The card contains the figures of results.json, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from evenfall.hub import write_card
from evenfall_egru.publish.card import make_card


def _evaluation(split: str, carry: str, perplexity: float) -> dict[str, object]:
    return {
        "split": split,
        "protocol": {"full": "full carry", "output": "window 70, output carry"}[carry],
        "carry": carry,
        "perplexity": perplexity,
        "tokens": 82429,
        "activity": [0.125, 0.25],
        "mean_activity": 0.15,
        "macs": {"effective": 2_500_000.0, "dense": 6_000_000.0, "ratio": 2.4},
    }


RESULTS = {
    "checkpoint": "egru-tiny",
    "command": "evenfall egru pack RUN/best --data PTB --output egru-tiny --dtype bfloat16",
    "model": {
        "parameters": 1234567,
        "vocab_size": 10000,
        "embedding_size": 288,
        "hidden_sizes": [768, 288],
        "weights_dtype": "bfloat16",
        "weights_bytes": 12_400_000,
    },
    "training": {"recipe": {"seed": 7, "epochs": 3}, "steps": 999, "best_step": 666},
    "evaluations": [
        _evaluation("valid", "full", 101.239),
        _evaluation("test", "full", 98.765),
        _evaluation("test", "output", 99.5),
    ],
}


def _card(folder: Path, results: dict[str, object]) -> ModelCard:
    (folder / "results.json").write_text(json.dumps(results))
    return ModelCard.load(write_card(folder, make_card))


def test_metadata_names_split_and_protocol(tmp_path: Path) -> None:
    card = _card(tmp_path, RESULTS)
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.library_name == "transformers"
    values = {
        (r.dataset_split, r.metric_name.partition(", ")[2]): r.metric_value
        for r in card.data.eval_results
    }
    assert values == {
        ("validation", "full carry"): 101.24,
        ("test", "full carry"): 98.77,
        ("test", "window 70, output carry"): 99.5,
    }


@pytest.mark.parametrize(
    "words",
    [
        "| test | full carry | 82,429 | 98.77 | 15.0 % |",
        "| 1 | 768 | 12.5 % |",
        "2.50 million effective, 6.00 million dense",
        "1,234,567 parameters, 12.4 MB of bfloat16 weights",
        "768, then 288 units",
        "Steps run: 999; step published, best on validation: 666.",
        "One run, seed 7",
        "trust_remote_code=True",
        "Linguistic Data Consortium",
        "@inproceedings{subramoney2023efficient,",
        'Sch{\\"o}ne',
    ],
)
def test_text_states(words: str, tmp_path: Path) -> None:
    assert words in _card(tmp_path, RESULTS).text


def test_figures_follow_the_results(tmp_path: Path) -> None:
    before = _card(tmp_path, RESULTS).text
    evaluations = [{**e, "perplexity": 55.5} for e in RESULTS["evaluations"]]
    after = _card(tmp_path, RESULTS | {"evaluations": evaluations}).text
    assert "98.77" in before
    assert "98.77" not in after
    assert "55.50" in after


def test_lacking_results_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no results.json"):
        write_card(tmp_path, make_card)
    with pytest.raises(ValueError, match="lacks what the card needs: 'model'"):
        _card(tmp_path, {k: v for k, v in RESULTS.items() if k != "model"})
