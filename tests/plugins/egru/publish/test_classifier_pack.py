"""From a run of `evenfall egru classify` to a folder to publish, on made images of MNIST."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("matplotlib")

from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification
from typer.testing import CliRunner, Result

from evenfall import registry
from evenfall.cli.app import app as evenfall_app
from evenfall.cli.checkpoint_names import checkpoint_of
from evenfall.trainers import ExampleLoader, Trainer
from evenfall_egru.cli import app
from evenfall_egru.sequences import mnist
from evenfall_egru.training.trained import load_trained

RECIPE = """
model: {hidden_sizes: [12], support: 1.0, dampening: 0.7}
dataset: mnist
dataset_options: {pixels: 196}
epochs: 2
batch_size: 8
learning_rate: 0.02
"""


def idx(array: np.ndarray) -> bytes:
    return np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes() + array.tobytes()


@pytest.fixture(scope="module", autouse=True)
def _small_validation_split() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "_VALID", 20)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training and 30 test images: a class is a bright row."""
    path, random = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for name, count in (("train", 60), ("t10k", 30)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = random.integers(0, 60, (count, 28, 28), np.uint8)
        images[np.arange(count), 2 * labels] = 250
        (path / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return path


def egru(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs a-0, a-1 and gru-0."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.yaml").write_text(RECIPE)
    for name, cell in (("a-0", "egru"), ("a-1", "egru"), ("gru-0", "gru")):
        result = egru(
            "classify", folder / "tiny.yaml", "--data", data, "--output", folder / name,
            "--seed", name[-1], "--cell", cell,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def packed(runs: Path, data: Path) -> Path:
    result = egru(
        "pack", runs / "a-0", runs / "a-1" / "best", "--data", data, "--baseline",
        f"GRU={runs / 'gru-0'}", "--output", runs / "egru-tiny",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return runs / "egru-tiny"


def test_results_are_those_of_the_weights_in_the_folder(packed: Path, data: Path) -> None:
    results = json.loads((packed / "results.json").read_text())
    trainer = registry.trainers.get("egru-classifier")
    for row in (one for one in results["evaluations"] if one["published"]):
        again = trainer.evaluate(packed, data, row["split"])
        assert json.loads(json.dumps(again)) == again
        assert again["accuracy"] == row["accuracy"]
        assert again["activity"] == pytest.approx(row["activity"])
        assert np.trace(row["confusion"]) == round(row["accuracy"] * row["examples"])
    assert [(row["model"], row["split"], row["runs"]) for row in results["summary"]] == [
        ("this model", "valid", 2), ("this model", "test", 2), ("GRU", "valid", 1),
        ("GRU", "test", 1),
    ]  # fmt: skip
    own, gru = results["summary"][1], results["summary"][3]
    scores = [
        row["accuracy"] for row in results["evaluations"]
        if (row["model"], row["split"]) == ("this model", "test")
    ]  # fmt: skip
    assert own["accuracy"] == pytest.approx(np.mean(scores))
    assert own["deviation"] == pytest.approx(np.std(scores, ddof=1))
    assert str(data) not in json.dumps(results)
    assert results["differences"] == {"GRU": {"cell": "gru"}}
    # four steps of 196 pixels for 12 units of three gates, and the head once
    assert gru["macs"]["dense"] == own["macs"]["dense"] == 4 * 3 * 12 * (196 + 12) + 120
    assert own["macs"]["effective"] < gru["macs"]["effective"]


def test_the_card_states_data_figures_and_baselines(packed: Path) -> None:
    card = ModelCard.load(packed / "README.md")
    results = json.loads((packed / "results.json").read_text())
    test = next(r for r in results["evaluations"] if r["published"] and r["split"] == "test")
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", None)
    found = {one.dataset_split: one for one in card.data.eval_results}
    assert found["test"].metric_value == round(100 * test["accuracy"], 2)
    assert found["test"].dataset_name == "Sequential MNIST, 196 pixels a step"
    for words in (
        "(`pixels: 196`)", "12 units, 196 numbers at each of 4 steps, 10 classes: 0, 1,",
        "reshape(1, 4, 196)", "| GRU |", 'GRU: the same recipe, except `{"cell": "gru"}`',
        "evenfall egru pack \\\n    a-0 \\\n    a-1 \\\n    --baseline 'GRU=gru-0'",
        "The best of 2 runs on validation", "kB of bfloat16 weights",
    ):  # fmt: skip
        assert words in card.text
    assert {path.name for path in packed.iterdir()} == {
        "README.md", "config.json", "confusion.png", "model.safetensors", "raster.png",
        "recipe.yaml", "results.json",
    }  # fmt: skip


def test_a_packed_folder_is_checked_and_published_as_a_classifier(
    packed: Path, data: Path, tmp_path: Path
) -> None:
    assert checkpoint_of(str(packed)).trainer == "egru-classifier"
    shell = CliRunner()
    check = ["checkpoints", "check", str(packed)]
    result = shell.invoke(evenfall_app, [*check, "--evaluate", "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.output
    public = tmp_path / "public"
    result = shell.invoke(evenfall_app, ["checkpoints", "publish", str(packed), str(public)])
    assert result.exit_code == 0, result.output
    config = json.loads((public / "config.json").read_text())
    assert config["auto_map"]["AutoModelForSequenceClassification"].startswith("classification_")
    model = AutoModelForSequenceClassification.from_pretrained(public)
    frames = torch.rand(3, 4, 196)
    wanted = checkpoint_of(str(packed)).load()(inputs_embeds=frames).logits
    torch.testing.assert_close(model(inputs_embeds=frames).logits, wanted)


def test_the_trainer_of_classifiers_is_one(runs: Path, data: Path) -> None:
    trainer = registry.trainers.get("egru-classifier")
    assert isinstance(trainer, Trainer)
    assert isinstance(trainer, ExampleLoader)
    model, example = trainer.load_example(runs / "gru-0" / "best", data, "valid")
    assert model(**example).logits.shape == (20, 10)
    log = [json.loads(line) for line in (runs / "gru-0" / "log.jsonl").read_text().splitlines()]
    best = max(line["eval_accuracy"] for line in log if "eval_accuracy" in line)
    figures = trainer.evaluate(runs / "gru-0" / "best", data, "valid")
    assert figures["accuracy"] == pytest.approx(best)
    about = registry.trainers.provenance("egru-classifier").metadata
    assert (about["metric"], about["greater_is_better"]) == ("accuracy", True)


def test_what_cannot_be_packed_is_named(runs: Path, data: Path, tmp_path: Path) -> None:
    def error(*arguments: object) -> str:
        result = egru("pack", *arguments, "--data", data, "--output", tmp_path / "out")
        assert result.exit_code == 1
        return result.stderr

    assert "must be a finished run of an EGRU" in error(tmp_path)
    assert "must be a finished run of an EGRU" in error(runs / "gru-0")
    card = Path(__file__).parents[4] / "hub_cards/egru-ptb-small"
    assert "are for classifiers" in error(card, "--baseline", "GRU=x")
    assert "baseline must be NAME=RUN, got 'GRU'" in error(runs / "a-0", "--baseline", "GRU")
    assert "must be an EGRU" in error(runs / "a-0", runs / "gru-0")
    assert "gone has no recipe.yaml" in error(runs / "a-0", "--baseline", "GRU=gone")
    assert "dtype must be one of" in error(runs / "a-0", "--dtype", "int3")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("run", "cell", "other"), [("gru-0", "gru", "lstm"), ("a-0", "egru", "gru")]
)
def test_weights_that_do_not_fit_the_recipe_are_errors(
    runs: Path, tmp_path: Path, run: str, cell: str, other: str
) -> None:
    shutil.copytree(runs / run / "best", tmp_path, dirs_exist_ok=True)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(f"cell: {cell}", f"cell: {other}"))
    with pytest.raises(ValueError, match="does not fit the recipe of its folder"):
        load_trained(tmp_path)
