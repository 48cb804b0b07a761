"""Runs from recipes: exact resume, results, comparisons, data."""

from __future__ import annotations

import dataclasses
import gzip
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from evenfall_blocklocal.training import Recipe, compare_rules, load_recipe, train
from evenfall_blocklocal.training.data import ImageSource, open_images
from evenfall_blocklocal.training.networks import make_network
from evenfall_blocklocal.training.opening import open_source
from evenfall_blocklocal.training.run import one_cycle

RECIPE = Recipe(
    data="mnist", model="mlp", model_options={"width": 16, "depth": 2}, boundaries=("1", "2"),
    blocks=3, options={"latent": 8, "hidden": 16}, epochs=2, batch_size=32, max_grad_norm=1.0,
)  # fmt: skip


def test_a_resumed_run_gives_the_same_model(digits, tmp_path) -> None:
    best = train(RECIPE, digits, tmp_path / "whole")
    train(RECIPE, digits, tmp_path / "parts")
    longer = dataclasses.replace(RECIPE, epochs=3)
    extended = train(longer, digits, tmp_path / "parts", resume=True)
    again = train(longer, digits, tmp_path / "parts", resume=True)
    assert again == extended
    result = json.loads((best / "result.json").read_text())
    assert result["rule"] == "bll"
    assert result["epochs"] == 2
    assert 0 <= result["test_accuracy"] <= 1
    assert json.loads((extended / "result.json").read_text())["epochs"] == 3
    lines = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 2, 3]
    with pytest.raises(FileExistsError, match="use --resume"):
        train(RECIPE, digits, tmp_path / "whole")


def test_an_interrupted_run_continues_exactly(digits, tmp_path) -> None:
    whole = train(RECIPE, digits, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(task: str, done: int, total: int) -> None:
        if task.startswith("epoch 2") and done == 2:
            raise Stop

    with pytest.raises(Stop):
        train(RECIPE, digits, tmp_path / "parts", progress=stop)
    parts = train(RECIPE, digits, tmp_path / "parts", resume=True)
    for name in ("model", "blocklocal"):
        found, wanted = (load_file(folder / f"{name}.safetensors") for folder in (parts, whole))
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_mixed_precision_and_channels_last_change_losses_by_rounding_only(digits, tmp_path) -> None:
    options = {"data": "two-digits", "model": "two-digits-cnn", "boundaries": ("0",)}
    options["blocks"] = 2
    options["model_options"] = {"widths": (4, 4), "grid": (1, 1), "hidden": 8}
    options |= {"train_samples": 320, "test_samples": 100, "epochs": 1}
    recipe = dataclasses.replace(RECIPE, **options)
    runs = {"plain": recipe}
    runs["channels last"] = dataclasses.replace(recipe, channels_last=True)
    runs["bf16"] = dataclasses.replace(recipe, bf16=True)
    weights, losses = {}, {}
    for name, one in runs.items():
        weights[name] = load_file(train(one, digits, tmp_path / name) / "model.safetensors")
        line = (tmp_path / name / "log.jsonl").read_text().splitlines()[0]
        losses[name] = torch.tensor(json.loads(line)["losses"])
    torch.testing.assert_close(losses["channels last"], losses["plain"], rtol=0, atol=1e-3)
    torch.testing.assert_close(losses["bf16"], losses["plain"], rtol=0, atol=0.05)
    assert not torch.equal(losses["bf16"], losses["plain"])
    assert {value.dtype for value in weights["bf16"].values()} <= {torch.float32, torch.int64}


def test_rules_are_compared_in_a_table(digits, tmp_path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    rules = ["bll", "local-ce", "frozen", "backprop"]
    comparison = compare_rules(recipe, rules, digits, tmp_path, seeds=(0, 1))
    rows = comparison.rows()
    assert [row["rule"] for row in rows] == rules
    assert all(row["seeds"] == 2 for row in rows)
    assert rows[0]["lowest"] <= rows[0]["test_accuracy"] <= rows[0]["highest"]
    assert rows[0]["head_parameters"] > rows[2]["head_parameters"] == 0
    assert (tmp_path / "table.md").read_text() == comparison.table()
    assert len(json.loads((tmp_path / "results.json").read_text())) == 8


@pytest.mark.parametrize(
    ("rules", "seeds", "message"),
    [
        (["frozen", "hebb"], (0,), "rule must be one of .*got 'hebb'"),
        (["bll", "frozen", "bll"], (0,), "rules must differ and be at least one, got"),
        ([], (0,), r"rules must differ and be at least one, got \[\]"),
        (["bll"], (1, 1), r"seeds must differ and be at least one, got \[1, 1\]"),
        (["bll"], (-1,), "seed must be an integer of at least 0, got -1"),
    ],
)
def test_a_wrong_comparison_trains_nothing(digits, tmp_path, rules, seeds, message) -> None:
    with pytest.raises(ValueError, match=message):
        compare_rules(RECIPE, rules, digits, tmp_path / "out", seeds=seeds)
    assert not (tmp_path / "out").exists()


def test_the_class_of_two_digits_is_their_sum(data_dir) -> None:
    images = open_images("two-digits", data_dir)
    assert images.train.shape == (60_000, 1, 28, 56)
    assert images.test.shape == (10_000, 1, 28, 56)
    single = open_images("mnist", data_dir)
    left, right = images.test[0].split(28, 2)
    labels = [
        int(single.test_labels[(single.test == side).flatten(1).all(1).nonzero()[0, 0]])
        for side in (left, right)
    ]
    assert sum(labels) % 10 == int(images.test_labels[0])
    small = ImageSource(open_images("cifar10-subset", data_dir))
    small.limit(50, 20)
    assert (small.sizes, small.shape) == ({"train": 50, "test": 20}, (3, 32, 32))


def test_a_damaged_file_is_refused(tmp_path) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        content = bytes([0, 0, 8, 1]) + np.array([9], ">i4").tobytes() + b"1234"
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(
        ValueError, match=r"truncated or too long: 4 bytes for an array of shape \(9,\)"
    ):
        open_images("mnist", tmp_path)
    whole = gzip.compress(bytes(50))
    for content in (whole[:-9], b"no archive", gzip.compress(b"a"), gzip.compress(b"abc\x09")):
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"ubyte\.gz (cannot be read|is not an IDX)"):
            open_images("mnist", tmp_path)
    for content in (b"", b"PK\x03\x04 cut"):
        (tmp_path / "cifar10.npz").write_bytes(content)
        with pytest.raises(ValueError, match="npz is damaged"):
            open_images("cifar10-subset", tmp_path)


def test_a_result_that_is_not_finite_is_refused(digits, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("evenfall_blocklocal.training.run.measure", lambda *_: float("nan"))
    with pytest.raises(ValueError, match=r"test_accuracy.*nan"):
        train(dataclasses.replace(RECIPE, epochs=1), digits, tmp_path / "run")
    assert not (tmp_path / "run" / "best").exists()
    assert (tmp_path / "run" / "checkpoint-1").is_dir()


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [one_cycle(step, 100, 2.0) for step in range(101)]
    assert rates[0] == pytest.approx(0.08)
    assert max(rates) == rates[30] == pytest.approx(2.0)
    assert rates[100] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1}, "folds must be an integer of at least 2, got 1"),
        ({"window": 0}, "window must be an integer of at least 1"),
        ({"rule": "hebb"}, "rule must be one of"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0 and finite"),
        ({"learning_rate": float("nan")}, "learning_rate must be more than 0 and finite"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0 and finite"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be more than 0 and finite, or null"),
        ({"train_samples": -1}, "train_samples must be an integer of at least 1"),
        ({"train_samples": True}, "train_samples must be an integer of at least 1, got True"),
        ({"options": {"momentum": True}}, "momentum must be from 0 to 1, got True"),
        ({"options": {"latents": 3}}, "unknown option 'latents'"),
        ({"options": {"head_depth": 3}}, "head_depth must be an integer of at least 0"),
        ({"tied": "yes"}, "tied must be one of refuse, untie, last, got 'yes'"),
        ({"balance": "flops"}, "balance must be one of params, macs, activations, got 'flops'"),
        ({"blocks": 3, "boundaries": ["1"]}, "blocks must be 2, one more than the boundaries"),
    ],
)
def test_wrong_recipes_are_refused(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**values)


def test_bundled_recipes_are_found_by_name() -> None:
    recipe = load_recipe("two-digits")
    assert recipe.boundaries == ("0", "1", "2")
    assert recipe.rule_options()["grid"] == (2, 4)
    for name in ("mnist-mlp", "mnist-cnn", "cifar10-smoke-resnet", "cifar10-smoke-vit",
                 "modelnet10", "nmnist", "ptb-transformer", "ptb-egru"):  # fmt: skip
        load_recipe(name)
    with pytest.raises(FileNotFoundError, match="bundled recipes: cifar10-smoke-resnet"):
        load_recipe("none")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"folder": "other"}, "folder has no effect on data 'mnist', got 'other'"),
        ({"folds": 5}, "folds has no effect on data 'mnist', got 5"),
        ({"train_split": "valid"}, "train_split has no effect on data 'mnist', got 'valid'"),
        ({"window": 9}, "window has no effect on data 'mnist', got 9"),
        ({"data": "text", "data_options": {"a": 1}}, "data_options has no effect on data 'text'"),
    ],
)
def test_settings_that_other_data_would_read_are_refused(digits, settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        open_source(dataclasses.replace(RECIPE, **settings), digits)


@pytest.mark.parametrize("name", ["mlp", "test_resnet"])
def test_options_that_a_model_does_not_have_are_refused(digits, name: str) -> None:
    source = open_source(RECIPE, digits)
    with pytest.raises(ValueError, match=r"model_options of '.*widht"):
        make_network(name, source, widht=3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"boundaries": 3}, "boundaries must be a list of names of modules, got 3"),
        ({"boundaries": "middle"}, "boundaries must be a list of names of modules, got 'middle'"),
        ({"boundaries": ["1", 2]}, "boundaries must be a list of names of modules"),
        ({"options": 3}, "options must be a mapping, got 3"),
        ({"model_options": [1]}, r"model_options must be a mapping, got \[1\]"),
        ({"data": ["mnist"]}, r"data must be a string, got \['mnist'\]"),
        ({"folder": 3}, "folder must be a string, got 3"),
        ({"callbacks": "prune"}, "callbacks must be a list, got 'prune'"),
        ({"epochs": True}, "epochs must be an integer of at least 1, got True"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_values_of_the_wrong_type_are_named(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe(**settings)


def test_a_full_disk_is_one_error_and_a_run_has_no_pickle(digits, tmp_path, monkeypatch) -> None:
    import safetensors.torch

    original = safetensors.torch.serialize_file

    def full(tensors, filename, **options) -> None:
        if "optimizer" in str(filename):
            raise safetensors.SafetensorError("Error while serializing: No space left on device")
        original(tensors, filename, **options)

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "serialize_file", full)
        with pytest.raises(OSError, match=r"cannot be written: .*No space left"):
            train(RECIPE, digits, tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    train(dataclasses.replace(RECIPE, epochs=1), digits, tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".safetensors", ".yaml", ".md"}


def test_a_checkpoint_of_an_earlier_version_continues(digits, tmp_path) -> None:
    """Its optimiser's state is optimizer.pt."""
    from evenfall.runs import read_state

    whole = train(dataclasses.replace(RECIPE, epochs=3), digits, tmp_path / "whole")
    longer = dataclasses.replace(RECIPE, epochs=3)

    class Stop(Exception):
        pass

    def stop(task: str, done: int, total: int) -> None:
        if task.startswith("epoch 3"):
            raise Stop

    with pytest.raises(Stop):
        train(longer, digits, tmp_path / "old", progress=stop)
    (last,) = (tmp_path / "old").glob("checkpoint-*")
    torch.save(read_state(last, "optimizer"), last / "optimizer.pt")
    (last / "optimizer.json").unlink()
    (last / "optimizer.safetensors").unlink()
    again = train(longer, digits, tmp_path / "old", resume=True)
    found, wanted = (load_file(folder / "model.safetensors") for folder in (again, whole))
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
