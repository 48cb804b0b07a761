"""A whole study of small models through the command: trained, counted, timed, drawn."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from typer.testing import CliRunner

from evenfall.runs import Callback, make_callbacks
from evenfall_sparsity import prune
from evenfall_sparsity.cli import app
from evenfall_sparsity.study import find_study, read_study
from evenfall_sparsity.study.run import best_folders, find_trainer, plan_recipes

STUDY = f"""
trainer: egru
recipe: base.yaml
models:
  lstm: {{changes: {{model.type: lstm}}}}
  egru: {{}}
level_changes: {{epochs: 0.5, schedule: constant, learning_rate: 5.0e-3}}
levels: [0.5, 0.75]
methods:
  dense: []
  blocks: [{{"{__name__}:OneShot": {{amount: "{{level}}", block: [1, 4]}}}}]
lines:
  - {{model: lstm, method: dense}}
  - {{model: lstm, method: blocks}}
  - {{model: egru, method: blocks}}
splits: [valid, test]
"""
RECIPE = """
model: {embedding_size: 12, hidden_sizes: [20, 12]}
batch_size: 8
window: 12
epochs: 1
learning_rate: 0.02
"""


class OneShot(Callback):
    """Prunes before training."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def prepare(self, model: Any) -> None:
        prune(model, **self.options)


def run(folder: Path, *options: str) -> Any:
    files = ["study", str(folder / "study.yaml"), "--data", str(folder / "text")]
    return CliRunner().invoke(app, [*files, "--output", str(folder / "out"), *options])


def test_a_study_of_the_egru_trainer(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "base.yaml").write_text(RECIPE)
    (tmp_path / "text").mkdir()
    words, generator = ("the cat", "a dog", "sees it", "runs", "sleeps"), random.Random(0)
    for split, lines in (("train", 300), ("valid", 60), ("test", 60)):
        text = "".join(" ".join(generator.choices(words, k=3)) + "\n" for _ in range(lines))
        (tmp_path / "text" / f"tiny.{split}.txt").write_text(text)

    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert "lstm: the largest reduction of MACs" in result.output
    table = json.loads((tmp_path / "out/study.json").read_text())
    rows = {row["run"]: row for row in table["runs"]}
    assert len(rows) == 2 + 3 * 2
    assert (table["metric"], table["greater_is_better"]) == ("perplexity", False)
    for level in (0.5, 0.75):
        for model in ("lstm", "egru"):
            counts = rows[f"{model}/seed-0/blocks/{level}"]["counts"]
            assert counts["density"] == pytest.approx(1 - level, abs=0.01)
            assert counts["macs"]["hidden"]["effective"] < counts["macs"]["hidden"]["dense"] / 1.9
    assert rows["egru/seed-0/start"]["counts"]["activity"] < 1
    assert rows["lstm/seed-0/start"]["counts"]["activity"] > 0.99
    assert (tmp_path / "out/macs.png").is_file()
    assert not (tmp_path / "out/time.png").exists()

    result = run(tmp_path, "--time", "--tokens", "3", "--rounds", "1")
    assert result.exit_code == 0, result.output
    assert "generate, tokens/s" in result.output
    timed = json.loads((tmp_path / "out/study.json").read_text())
    for row in timed["runs"]:
        assert "as it is" in row["speeds"]
        assert all(min(speed.values()) > 0 for speed in row["speeds"].values())
    pruned = timed["runs"][-1]
    assert pruned["method"] == "blocks"
    assert {"compressed", "rounded"} & {*pruned["speeds"]}
    assert timed["timing"]["machine"]["torch_threads"] == torch.get_num_threads()
    assert (tmp_path / "out/speedup.png").is_file()

    assert run(tmp_path).exit_code == 0
    assert json.loads((tmp_path / "out/study.json").read_text()) == timed


@pytest.mark.parametrize("name", ["ptb", "ptb-blocks", "wikitext-2"])
def test_recipes_and_callbacks_of_bundled_studies_are_valid(name: str, tmp_path: Path) -> None:
    file = find_study(name)
    study = read_study(file)
    bests = best_folders(study, tmp_path)
    recipes = plan_recipes(study, file, find_trainer(study.trainer)[0], bests)
    assert {*recipes} == {*bests}
    for run, recipe in recipes.items():
        make_callbacks(recipe.callbacks)
        assert (recipe.initial_checkpoint is None) == run.endswith("start") or "quiet" in run
    assert any(recipe.callbacks for recipe in recipes.values())


def test_timing_needs_a_study(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    result = run(tmp_path, "--time")
    assert result.exit_code == 1
    assert "has no study.json; run the study without --time first" in result.output
