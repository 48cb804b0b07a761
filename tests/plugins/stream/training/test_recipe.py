"""Recipes: YAML files, errors that name the key, bundled recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall_stream.training import (
    Recipe,
    dump_recipe,
    load_recipe,
    shipped_recipes,
)
from evenfall_stream.training.build import MODELS, make_model
from evenfall_stream.training.data import DATASETS, class_names, open_dataset
from evenfall_stream.training.optimizer import make_optimizer, make_schedule
from evenfall_stream.transforms.pipeline import make_transforms

TINY = {"width": 8, "depth": 1, "groups": 4, "neighbors": 2}


def test_round_trip(tmp_path: Path) -> None:
    recipe = Recipe(
        model_options=TINY, augmentation=["NormalizeScale", {"RandomShift": {"most": 0.1}}],
        epochs=3, max_grad_norm=None, ema_decay=0.99, seed=4,
    )  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert recipe.model == "StreamClassifier"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3", r"unknown keys \['epoch'\]; known are .*'epochs'"),
        ("task: video", "task must be one of points, events, segments, got 'video'"),
        ("model: Resnet", "model must be one of .*, StreamClassifier, .*, got 'Resnet'"),
        ("epochs: 0", "epochs must be an integer of at least 1, got 0"),
        ("votes: true", "votes must be an integer of at least 1, got True"),
        ("weight_decay: true", "weight_decay must be a number, got True"),
        ("task: [points]", r"task must be one of points, events, segments, got \['points'\]"),
        ("augmentation: [{RandomShift: {most: yes}}]", "most must be a number, got True"),
        ("seed: -1", "seed must be an integer of at least 0, got -1"),
        ("learning_rate: 0", "learning_rate must be more than 0 and finite, got 0"),
        ("learning_rate: fast", "learning_rate must be a number, got 'fast'"),
        ("max_grad_norm: 0", "max_grad_norm must be more than 0 and finite, or null, got 0"),
        ("label_smoothing: 1", "label_smoothing must be at least 0 and below 1, got 1"),
        ("ema_decay: 1.5", "ema_decay must be at least 0 and below 1, or null, got 1.5"),
        ("mixed_precision: fp8", "mixed_precision must be one of .* got 'fp8'"),
        (
            "augmentation: [RandomShfit]",
            r"unknown transform 'RandomShfit'\. Closest: .*'RandomShift'",
        ),
        ("augmentation: [{RandomShift: {far: 1}}]", "augmentation, RandomShift: .*'far'"),
        ("augmentation: [{RandomShift: {most: -1}}]", "most must not be negative"),
        ("preparation: [3]", "preparation must list transforms as NAME or NAME: .* got 3"),
        ("cut_mix: 0.5", r"cut_mix must be in \[0, 1\], and 0 for points, got 0.5"),
        ("augmentation: 3", "augmentation must be a list, got 3"),
        ("augmentation: RandomShift", "augmentation must be a list, got 'RandomShift'"),
        ("preparation: {Center: }", r"preparation must be a list, got {'Center': None}"),
        ("dataset_options: [1]", r"dataset_options must be a mapping, got \[1\]"),
        ("model_options: 3", "model_options must be a mapping, got 3"),
        ("optimizer_options: 3", "optimizer_options must be a mapping, got 3"),
        ("optimizer: 3", "optimizer must be a string, got 3"),
        ("train_split: null", "train_split must be a string, got None"),
        ("learning_rate: .inf", "learning_rate must be more than 0 and finite, got inf"),
        ("weight_decay: -1", "weight_decay must be at least 0 and finite, got -1"),
        ("min_learning_rate: -1", "min_learning_rate must be at least 0 and finite, got -1"),
        (
            "warmup_learning_rate: .nan",
            "warmup_learning_rate must be at least 0 and finite, got nan",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        load_recipe(file)


def test_recipes_go_by_name_too() -> None:
    assert load_recipe("modelnet10").dataset == "modelnet10"
    with pytest.raises(
        FileNotFoundError, match=r"recipe imagenet not found; bundled recipes: .*, modelnet10,"
    ):
        load_recipe("imagenet")


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_shipped_recipe_builds(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.dataset in DATASETS
    missing = {"sensor_size": [32]} if recipe.task == "events" else {}  # own data gives it
    model = make_model(str(recipe.model), {**missing, **recipe.model_options}, ["a", "b"])
    optimizer = make_optimizer(recipe, model)
    schedule = make_schedule(recipe, optimizer, 10)
    rates = []
    for step in range(0, 10 * recipe.epochs, 5):
        schedule.step_update(step)
        rates.append(max(group["lr"] for group in optimizer.param_groups))
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates.index(max(rates)) == 2 * recipe.warmup_epochs
    assert min(rates) > 0


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        ("modelnet40", 40, 12.3), ("scanobjectnn", 15, 12.3), ("dvs128-gesture", 11, 4.90),
        ("shd", 20, 0.48), ("ssc", 35, 0.48),
    ],
)  # fmt: skip
def test_the_sizes_that_the_pages_state(name: str, classes: int, millions: float) -> None:
    recipe = load_recipe(name)
    model = make_model(str(recipe.model), recipe.model_options, [str(c) for c in range(classes)])
    size = sum(parameter.numel() for parameter in model.parameters())
    assert size / 1e6 == pytest.approx(millions, abs=0.005)


def test_decay_spares_vectors_and_time_scales() -> None:
    model = make_model("StreamClassifier", TINY, ["a", "b"])
    optimizer = make_optimizer(Recipe(weight_decay=0.3), model)
    decayed = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        free = parameter.ndim < 2 or name.endswith("A_log")
        assert decayed[id(parameter)] == (0.0 if free else 0.3), name
    assert len(decayed) == len(list(model.parameters()))


def test_what_cannot_be_made_is_named() -> None:
    with pytest.raises(ValueError, match=r"model must be one of .* got 'Resnet'"):
        make_model("Resnet", {}, ["a"])
    with pytest.raises(
        ValueError, match=r"model_options: .*sensor_size.* the arguments of .*'widths'"
    ):
        make_model("EventStreamClassifier", {}, ["a"])
    model = make_model("StreamClassifier", TINY, ["a"])
    with pytest.raises(ValueError, match="optimizer 'speedy'"):
        make_optimizer(Recipe(optimizer="speedy"), model)
    with pytest.raises(ValueError, match=r"optimizer 'adamw': .*speed"):
        make_optimizer(Recipe(optimizer_options={"speed": 1}), model)
    with pytest.raises(ValueError, match=r"dataset must be one of .*'nmnist'.*, got 'cifar'"):
        open_dataset("cifar", ".", "train")
    with pytest.raises(ValueError, match=r"dataset_options of modelnet10: .*fast"):
        open_dataset("modelnet10", ".", "train", fast=True)
    assert set(MODELS) == {"StreamClassifier", "EventStreamClassifier", "StreamSegmenter"}


def test_a_bad_argument_of_a_transform_names_the_transform() -> None:
    with pytest.raises(ValueError, match="augmentation, EventSlice: count must be"):
        make_transforms([{"DropEvents": {"p": 0.1}}, {"EventSlice": {"count": 0}}])


def test_transforms_are_applied_in_order() -> None:
    from torch_geometric.data import Data

    both = make_transforms(["Center", {"LinearTransformation": {"matrix": [[2.0, 0], [0, 2.0]]}}])
    out = both(Data(pos=torch.tensor([[0.0, 0.0], [2.0, 4.0]])))
    assert out.pos.tolist() == [[-2.0, -4.0], [2.0, 4.0]]


def test_classes_without_names_are_numbered() -> None:
    class Nameless:
        num_classes = 3

    assert class_names(Nameless()) == ["0", "1", "2"]
