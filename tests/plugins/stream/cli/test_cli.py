"""`evenfall stream`, from training to predictions, on a few small clouds."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall_stream import EventStreamClassifier
from evenfall_stream.cli import app
from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.publish.card import make_card
from evenfall_stream.training import checkpoint_recipe, evaluate

RECIPE = {
    "dataset": "shapes",
    "model_options": {"width": 8, "depth": 1, "groups": 8, "neighbors": 4, "head": []},
    "augmentation": [{"RandomShift": {"most": 0.1}}],
    "epochs": 2,
    "batch_size": 10,
    "learning_rate": 0.01,
}

pytestmark = pytest.mark.usefixtures("shapes")


def _evenfall(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def _fails(*arguments: object) -> str:
    """The one line on stderr of a command that must fail."""
    result = _evenfall(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: ")
    return line


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    output = tmp_path / "run"
    result = _evenfall("train", tmp_path / "recipe.yaml", "--data", tmp_path, "--output", output)
    assert result.exit_code == 0, result.output
    assert "best model: " in result.stdout
    return output


def test_help_names_every_command() -> None:
    listed = _evenfall("--help").output
    for name in ("train", "evaluate", "predict", "pack"):
        assert name in listed
        assert "Usage" in _evenfall(name, "--help").output


def test_train_again_and_with_other_choices(run: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    assert "already contains a run" in _fails("train", recipe, "--data", ".", "--output", run)
    again = _evenfall("train", recipe, "--data", ".", "--output", run, "--resume")
    assert again.exit_code == 0
    more = _evenfall("train", recipe, "--data", ".", "--output", run, "--resume", "--epochs", 4)
    assert more.exit_code == 0, more.output
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 2, 3, 4]
    assert lines[2] == {"epoch": 2, "extended": [2, 4]}
    short = _evenfall(
        "train", recipe, "--data", ".", "--output", tmp_path / "b", "--epochs", 1, "--seed", 7
    )
    assert short.exit_code == 0
    changed = checkpoint_recipe(tmp_path / "b" / "best")
    assert (changed.epochs, changed.seed) == (1, 7)
    recipe.write_text("epoch: 3\n")
    message = _fails("train", recipe, "--data", ".", "--output", tmp_path / "c")
    assert "unknown keys ['epoch']" in message
    message = _fails("train", "imagenet", "--data", ".", "--output", tmp_path / "c")
    assert "recipe imagenet not found; bundled recipes: " in message


def test_a_line_an_epoch_is_the_message_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own, beside which ours is not set
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "epochs": 1}))
    result = _evenfall(
        "train", tmp_path / "recipe.yaml", "--data", tmp_path, "--output", tmp_path / "run"
    )
    lines = [line for line in result.stderr.splitlines() if "epoch 1" in line]
    assert len(lines) == 1
    assert lines[0].startswith("epoch 1")


def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evenfall_stream.training import run as module

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    arguments = ("train", tmp_path / "recipe.yaml", "--data", tmp_path, "--output", tmp_path / "r")
    with monkeypatch.context() as patch:
        patch.setattr(module._Run, "_descend", interrupted)
        stopped = _evenfall(*arguments)
    assert stopped.exit_code == 130
    assert "use --resume to continue" in stopped.stderr
    assert _evenfall(*arguments, "--resume").exit_code == 0


def test_evaluate_in_a_table_and_as_json(run: Path, tmp_path: Path, shapes: type[Any]) -> None:
    result = _evenfall("evaluate", run / "best", "--data", tmp_path, "--split", "valid")
    assert result.exit_code == 0, result.output
    assert "segment" in result.stdout
    assert "accuracy" in result.stdout
    json_result = _evenfall(
        "evaluate", run / "best", "--data", tmp_path, "--json", "--pictures", tmp_path / "p"
    )
    assert json_result.exit_code == 0, json_result.output
    scores = json.loads(json_result.stdout)
    again = evaluate(load_checkpoint(run / "best", "cpu"), shapes(tmp_path, "test"))
    assert scores["accuracy"] == again["accuracy"]
    assert scores["confusion"] == again["confusion"]
    assert (scores["split"], scores["dataset"]) == ("test", "shapes")
    assert len(list((tmp_path / "p").glob("*.png"))) == 3


def test_missing_matplotlib_is_said_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("evaluated before it was known that nothing can be drawn")

    monkeypatch.setattr("evenfall_stream.training.evaluation.evaluate_recipe", never)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    line = _fails("evaluate", run / "best", "--data", tmp_path, "--pictures", tmp_path / "drawn")
    assert line == (
        "Error: pictures need matplotlib; install the extra 'pictures': "
        "pip install 'evenfall-core[pictures]'"
    )


CARD = Path(__file__).parents[4] / "hub_cards/stream-modelnet10-small"


def test_what_cannot_be_evaluated(run: Path, tmp_path: Path) -> None:
    data = ("--data", tmp_path)
    assert "split must be" in _fails("evaluate", run / "best", *data, "--split", "all")
    assert "has no config.json" in _fails("evaluate", run, *data)
    assert "not found locally or on the Hub" in _fails("evaluate", tmp_path / "no", *data)
    (run / "best" / "recipe.yaml").unlink()
    assert "has no recipe.yaml" in _fails("evaluate", run / "best", *data)
    result = _evenfall("evaluate", run / "best", *data, "--recipe", run / "recipe.yaml")
    assert result.exit_code == 0
    (run / "best" / "model.safetensors").unlink()
    assert "has no model.safetensors" in _fails("evaluate", run / "best", *data)
    (run / "best" / "config.json").write_text("{}")
    assert "model_type must be one of" in _fails("evaluate", run / "best", *data)
    (run / "best" / "config.json").write_text('{"model_type": "stream-segmenter"}')
    with pytest.raises(ValueError, match="must be a classifier, got 'stream-seg"):
        load_checkpoint(run / "best")
    assert "--output is not" in _fails("predict", CARD, tmp_path / "a.npy", "--output", tmp_path)


def test_weights_of_another_model(run: Path, tmp_path: Path) -> None:
    config = run / "best" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "width": 16}))
    assert "do not match the model" in _fails("evaluate", run / "best", "--data", tmp_path)


def test_predict_reads_clouds_of_many_kinds(run: Path, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(30, 3))
    np.save(tmp_path / "a.npy", points)
    np.savez(tmp_path / "b.npz", pos=points, other=np.zeros(2))
    np.savetxt(tmp_path / "c.xyz", points)
    np.savetxt(tmp_path / "d.csv", points, delimiter=",")
    names = ["a.npy", "b.npz", "c.xyz", "d.csv"]
    result = _evenfall("predict", run / "best", *(tmp_path / n for n in names), "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [Path(row["input"]).name for row in rows] == names
    for row in rows:
        assert row["probabilities"] == pytest.approx(rows[0]["probabilities"], abs=1e-5)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
    result = _evenfall("predict", run / "best", tmp_path / "a.npy", "--top", 9)
    assert "segment" in result.stdout
    assert "ball" in result.stdout


def test_predict_classifies_a_cloud_in_map_coordinates(run: Path, tmp_path: Path) -> None:
    near = np.random.default_rng(0).normal(size=(30, 3)) * [1, 0.1, 0.1]
    np.save(tmp_path / "near.npy", near)
    np.save(tmp_path / "far.npy", near + np.array([500_000, 5_400_000, 300]))  # UTM, in metres
    result = _evenfall("predict", run / "best", *tmp_path.glob("*.npy"), "--json")
    assert result.exit_code == 0, result.output
    one, other = (row["probabilities"] for row in json.loads(result.stdout))
    assert one == pytest.approx(other, abs=1e-4)
    assert max(one, key=one.get) == max(other, key=other.get)


def test_predict_names_the_bad_file(run: Path, tmp_path: Path) -> None:
    cloud = tmp_path / "cloud.png"
    assert "must be a cloud with a suffix in" in _fails("predict", run / "best", cloud)
    assert "no such file" in _fails("predict", run / "best", tmp_path / "cloud.npy")


def test_predict_reads_recordings(tmp_path: Path) -> None:
    model = EventStreamClassifier(2, [34, 34], widths=[8], depths=[1], strides=[4])
    model.save_pretrained(tmp_path / "m")
    events = {name: np.arange(20) for name in "txy"}
    np.savez(tmp_path / "r.npz", **events, p=np.arange(20) % 2)
    result = _evenfall("predict", tmp_path / "m", tmp_path / "r.npz", "--json")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)[0]["probabilities"]) == {"0", "1"}
    np.savez(tmp_path / "r.npz", **{**events, "t": -events["t"]}, p=np.arange(20) % 2)
    assert "timestamps must not decrease" in _fails("predict", tmp_path / "m", tmp_path / "r.npz")


def test_pack_makes_a_folder_that_evaluates_to_its_figures(
    run: Path, tmp_path: Path, shapes: type[Any]
) -> None:
    folder = tmp_path / "shapes-tiny"
    arguments = ("pack", run / "best", "--data", tmp_path, "--output", folder)
    result = _evenfall(*arguments, "--split", "valid", "--split", "test")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "classes.png", "config.json", "confusion.png", "influence.png", "log.jsonl",
        "model.safetensors", "recipe.yaml", "results.json",
    ]  # fmt: skip
    results = json.loads((folder / "results.json").read_text())
    valid, test = results["evaluations"]
    assert (valid["split"], test["split"]) == ("valid", "test")
    again = evaluate(load_checkpoint(folder, "cpu"), shapes(tmp_path, "test"))
    assert again["confusion"] == test["confusion"]
    assert again["loss"] == test["loss"]
    card = ModelCard.load(folder / "README.md")
    assert [r.metric_value for r in card.data.eval_results] == [
        round(100 * scores["accuracy"], 2) for scores in (valid, test)
    ]
    assert card.data.model_name == "shapes-tiny"
    assert "| test | 20 |" in card.text
    assert str(make_card(results)).strip() == (folder / "README.md").read_text().strip()
    assert "already exists" in _fails(*arguments)
    assert "NAME=RUN" in _fails(*arguments, "--replace", "--baseline", "nothing")
    again = _evenfall(*arguments, "--replace", "--baseline", f"the same={run}")
    assert again.exit_code == 0, again.output
    results = json.loads((folder / "results.json").read_text())
    assert [row["model"] for row in results["summary"]] == ["this model"] * 2 + ["the same"] * 2
    assert results["summary"][1]["accuracy"] == results["summary"][3]["accuracy"]
    assert "| the same |" in ModelCard.load(folder / "README.md").text


def test_test_chooses_nothing(run: Path, tmp_path: Path) -> None:
    pack = ("pack", "--data", tmp_path, "--output", tmp_path / "p", "--split", "test")
    assert "do not select a run on the test split" in _fails(*pack, run, run)
    assert not (tmp_path / "p").exists()
    assert _evenfall(*pack, run).exit_code == 0


def test_a_pack_that_fails_leaves_the_folder_as_it_was(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = ("pack", run, "--data", tmp_path, "--output", tmp_path / "p", "--replace")
    assert _evenfall(*pack).exit_code == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "p").iterdir()}

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evenfall.hub.folders.write_card", interrupted)
    assert _evenfall(*pack).exit_code != 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "p").iterdir()} == before
    assert not list(tmp_path.glob(".p-*"))


@pytest.mark.parametrize(("rank", "lines"), [("0", True), ("1", False)])
def test_one_rank_tells_the_result(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str, lines: bool
) -> None:
    monkeypatch.setenv("RANK", rank)
    result = _evenfall(
        "evaluate", run / "best", "--data", tmp_path, "--pictures", tmp_path / "pictures"
    )
    assert result.exit_code == 0
    assert bool(result.stdout) == lines
    assert (tmp_path / "pictures").exists() == lines


def test_runs_may_differ_in_seed_and_fold_alone(run: Path, tmp_path: Path) -> None:
    arguments = ("train", tmp_path / "recipe.yaml", "--data", tmp_path, "--seed", 1, "--fold", 2)
    for name, more in (("other", ()), ("longer", ("--epochs", 3))):
        assert _evenfall(*arguments, "--output", tmp_path / name, *more).exit_code == 0
    assert checkpoint_recipe(tmp_path / "other" / "best").dataset_options == {"fold": 2}
    pack = ("pack", run, tmp_path / "other", "--data", tmp_path, "--output", tmp_path / "both")
    result = _evenfall(*pack, "--baseline", f"longer={tmp_path / 'longer'}")
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "both" / "results.json").read_text())
    assert results["summary"][0]["seeds"] == [0, 1]
    assert results["differences"] == {"longer": {"epochs": 3}}
    failed = _fails("pack", run, tmp_path / "longer", "--data", ".", "--output", tmp_path / "no")
    assert "longer/best differs in ['epochs']" in failed
