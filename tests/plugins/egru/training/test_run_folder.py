"""The folder of a run: which data it was trained on, failed runs, full disks, no pickles."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file
from transformers import Trainer

from evenfall_egru.training import Recipe, train
from evenfall_egru.training.recipe_trainer import RecipeTrainer

STEPS = 12  # 1320 tokens in 8 streams of windows of 12


def recipe(epochs: float = 1, **settings: Any) -> Recipe:
    model = {"embedding_size": 8, "hidden_sizes": [12, 8]}
    fixed = {"batch_size": 8, "window": 12, "learning_rate": 1e-2, "seed": 5}
    return Recipe(model=model, epochs=epochs, **{**fixed, **settings})


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch; tests copy it."""
    output = tmp_path_factory.mktemp("runs") / "run"
    train(recipe(), corpus, output)
    return output


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def test_other_data_is_noticed_on_resume(finished: Path, corpus: Path, tmp_path: Path) -> None:
    output, other = copy(finished, tmp_path / "run"), copy(corpus, tmp_path / "other")
    for split in ("valid", "train"):
        before = (other / f"tiny.{split}.txt").read_text()
        (other / f"tiny.{split}.txt").write_text(before.replace("cat", "cow"))
    files = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    words = r"contains a run on other data: train was 5,\d+ bytes \(sha256 .*\), and is 5,\d+ bytes"
    with pytest.raises(ValueError, match=words):
        train(recipe(epochs=2), other, output, resume=True)
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == files
    train(recipe(epochs=2), corpus, output, resume=True)
    (output / "data.json").unlink()  # a run of an earlier version
    train(recipe(epochs=2), corpus, output, resume=True)
    assert set(json.loads((output / "data.json").read_text())) == {"train", "valid"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "data.json cannot be read: it must be a JSON object"),
        ("{", "data.json cannot be read"),
        ('{"train": 3}', "other data: train was 3, and is 5"),
        ('{"train": {"bytes": "x"}}', r"train was None \(sha256 None\), and is 5"),
    ],
)
def test_a_damaged_record_of_the_data_is_named(
    finished: Path, corpus: Path, tmp_path: Path, content: str, words: str
) -> None:
    output = copy(finished, tmp_path / "run")
    (output / "data.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        train(recipe(epochs=2), corpus, output, resume=True)


def test_another_recipe_is_noticed_on_resume(finished: Path, corpus: Path) -> None:
    model = {"embedding_size": 9, "hidden_sizes": [12, 9]}
    with pytest.raises(ValueError, match=r"a run whose recipe differs in \['model'\]"):
        train(replace(recipe(), model=model), corpus, finished, resume=True)


def test_an_empty_validation_text_is_noticed_before_training(corpus: Path, tmp_path: Path) -> None:
    data = copy(corpus, tmp_path / "data")
    (data / "tiny.valid.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"tiny\.valid\.txt has no text"):
        train(recipe(), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_short_validation_text_is_enough(corpus: Path, tmp_path: Path) -> None:
    data = copy(corpus, tmp_path / "data")
    (data / "tiny.valid.txt").write_text("the cat\n")
    train(recipe(), data, tmp_path / "run")
    assert '"eval_perplexity"' in (tmp_path / "run" / "log.jsonl").read_text()


def test_a_run_that_failed_does_not_block_the_corrected_one(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    for method in ("training_step", "evaluate", "_save_rng_state"):
        with monkeypatch.context() as patch:
            patch.setattr(RecipeTrainer, method, fail)
            patch.setattr(f"evenfall_egru.training.trainer.EgruTrainer.{method}", fail)
            with pytest.raises(KeyboardInterrupt):
                train(recipe(learning_rate=9.0), corpus, tmp_path / "run")
        assert not list((tmp_path / "run").glob("checkpoint-*"))
    train(recipe(), corpus, tmp_path / "run")


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "carry-0"])
def test_a_full_disk_is_an_error_that_leaves_no_half_checkpoint(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import safetensors.torch

    original = safetensors.torch.serialize_file

    def serialize_file(tensors: Any, filename: Any, **kwargs: Any) -> None:
        if name.split(".")[0] in str(filename):
            raise safetensors.SafetensorError("Error while serializing: I/O error: No space left")
        original(tensors, filename, **kwargs)

    monkeypatch.setattr(safetensors.torch, "serialize_file", serialize_file)
    with pytest.raises(OSError, match=r"cannot be written: .*No space left"):
        train(recipe(), corpus, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "data.json", "log.jsonl", "recipe.yaml",
    ]  # fmt: skip


def test_a_run_has_no_pickle(finished: Path) -> None:
    files = [path for path in finished.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors", ".yaml"}
    assert (finished / f"checkpoint-{STEPS}" / "optimizer.safetensors").is_file()


def test_checkpoints_of_earlier_versions_continue(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have Trainer's own files."""
    whole = train(recipe(epochs=2, schedule="constant"), corpus, tmp_path / "whole")
    with monkeypatch.context() as patch:
        for method in ("_save_optimizer_and_scheduler", "_save_rng_state"):
            patch.setattr(RecipeTrainer, method, getattr(Trainer, method))
        train(recipe(schedule="constant"), corpus, tmp_path / "old")
    assert (tmp_path / "old" / f"checkpoint-{STEPS}" / "optimizer.pt").is_file()
    again = train(recipe(epochs=2, schedule="constant"), corpus, tmp_path / "old", resume=True)
    a, b = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "name", ["model", "optimizer.safetensors", "optimizer.json", "rng-0.json", "carry-0"]
)
def test_damaged_checkpoints_are_named(
    finished: Path, corpus: Path, tmp_path: Path, name: str
) -> None:
    output = copy(finished, tmp_path / "run")
    (file,) = (output / f"checkpoint-{STEPS}").glob(f"{name}*")
    whole, random = file.read_bytes(), Random(0)
    place = random.randrange(len(whole) // 2)
    for content in (b"", whole[:place], b"{}" + whole, b"[]"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"checkpoint.*-{STEPS}"):
            train(recipe(epochs=2), corpus, output, resume=True)
