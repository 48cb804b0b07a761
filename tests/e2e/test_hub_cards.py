"""The published folders: their code is the project's, and they score what their cards say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from transformers import AutoModelForCausalLM, AutoTokenizer

from evenfall_egru.evaluation.perplexity import evaluate_tokens
from evenfall_egru.publish.card import make_card
from evenfall_egru.publish.folder import copy_code
from evenfall_egru.text.corpus import encode, read_split

FOLDER = Path(__file__).parents[2] / "hub_cards" / "egru-ptb-small"


def test_its_code_is_that_of_the_sources(tmp_path: Path) -> None:
    copy_code(tmp_path)
    for source in tmp_path.glob("*.py"):
        assert (FOLDER / source.name).read_text() == source.read_text(), source.name
    assert len(list(FOLDER.glob("*.py"))) == len(list(tmp_path.glob("*.py")))


def test_its_card_is_made_from_its_results() -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    assert (FOLDER / "README.md").read_text().strip() == str(make_card(results)).strip()


def test_the_weights_stay_small() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 15_000_000


def test_validation_perplexity_is_that_of_the_card(data_dir: Path) -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    stated = next(
        e for e in results["evaluations"] if e["split"] == "valid" and e["carry"] == "full"
    )
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    tokens = encode(AutoTokenizer.from_pretrained(FOLDER), read_split(data_dir / "ptb", "valid"))
    found = evaluate_tokens(model, tokens, window=1024)
    assert found["tokens"] == stated["tokens"]
    assert found["perplexity"] == pytest.approx(stated["perplexity"], rel=1e-3)
    assert found["mean_activity"] == pytest.approx(stated["mean_activity"], rel=1e-2)
