"""Runs of the LSTM and GRU baselines, and runs that begin with the weights of another one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from evenfall_egru import RnnForCausalLM
from evenfall_egru.loading import load_checkpoint
from evenfall_egru.publish.pack import pack
from evenfall_egru.training import Recipe, train, trainer_entry

SIZES = {"embedding_size": 12, "hidden_sizes": [20, 12]}


def recipe(cell: str) -> Recipe:
    model = {"type": cell, **SIZES, "dropconnect": 0.2, "hidden_dropout": 0.1}
    return Recipe(model=model, epochs=2, batch_size=8, window=12, learning_rate=2e-2, seed=5)


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The best model of a run of each cell."""
    folder = tmp_path_factory.mktemp("runs")
    return {cell: train(recipe(cell), corpus, folder / cell) for cell in ("lstm", "gru")}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_baseline_trains_with_the_recipe_of_egru(
    runs: dict[str, Path], corpus: Path, cell: str
) -> None:
    model, _ = load_checkpoint(runs[cell])
    assert type(model) is RnnForCausalLM
    assert model.config.cell == cell
    figures = trainer_entry.evaluate(runs[cell], corpus, "test")
    assert figures["mean_activity"] == 1.0
    assert figures["perplexity"] < 12  # of 14 words
    log = (runs[cell].parent / "log.jsonl").read_text().splitlines()
    perplexities = [json.loads(line).get("eval_perplexity") for line in log]
    assert len([p for p in perplexities if p]) == 2


def test_a_baseline_resumes_to_the_same_weights(
    runs: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    half = replace(recipe("lstm"), schedule="constant")
    whole = train(half, corpus, tmp_path / "whole")
    train(replace(half, epochs=1), corpus, tmp_path / "broken")
    again = train(half, corpus, tmp_path / "broken", resume=True)
    want = load_checkpoint(whole)[0].state_dict()
    for name, value in load_checkpoint(again)[0].state_dict().items():
        assert torch.equal(value, want[name]), name


def test_a_run_begins_with_the_weights_of_another(
    runs: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    start = replace(
        recipe("gru"), initial_checkpoint=str(runs["gru"]), epochs=0.5, learning_rate=1e-30
    )
    before, after = (
        load_checkpoint(folder)[0].state_dict()
        for folder in (runs["gru"], train(start, corpus, tmp_path / "run"))
    )
    for name, value in after.items():
        torch.testing.assert_close(value, before[name])
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/log.jsonl").open()]
    assert steps[-1] == 6  # half of 12


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"type": "lstm", **SIZES}, r"bias_hh_l0 is \(60,\) there and \(80,\) in"),
        (SIZES, "bias is missing there"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    runs: dict[str, Path], corpus: Path, tmp_path: Path, model: dict[str, object], words: str
) -> None:
    start = replace(recipe("gru"), model=model, initial_checkpoint=str(runs["gru"]))
    with pytest.raises(ValueError, match=words):
        train(start, corpus, tmp_path / "run")


def test_a_baseline_is_not_packed_with_the_code_of_egru(
    runs: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"must be an EGRU, .* got a RnnForCausalLM"):
        pack(runs["gru"], corpus, tmp_path / "card")
