"""A training recipe: all settings of a run in one YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch_geometric.transforms import Compose

from evenfall.checks import check_choice, check_integer, check_number, check_type
from evenfall.recipes import bundled_files, find_file, read_recipe
from evenfall.runs import check_callbacks

from ..transforms.pipeline import check_transforms, make_transforms
from .build import MODELS, TASKS

PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True)
class Recipe:
    """The settings of `evenfall stream train`.

    Attributes:
        task: "points", "events", or "segments" for a class of each point.
        dataset: name of a data set; `evenfall datasets` lists them; or module:Class of your own.
        dataset_options: its other keyword arguments.
        train_split: the training split.
        valid_split: the split that selects the best epoch; None to use the last epoch.
        model: class name of the model; None for the class of the task.
        model_options: its keyword arguments; the classes come from the data, and so do sensor_size
            and polarities if the data set has them and the recipe leaves them out.
        preparation: transforms of every example, in training and evaluation. Those that take a
            sensor_size get the model's.
        augmentation: transforms of training examples, after the preparation.
        cut_mix: probability that a training recording is mixed from two, see CutMix; applied
            before the transforms, for events only.
        votes: augmented copies of an example whose probabilities are averaged in evaluation; 1
            evaluates the example itself.
        epochs: passes over the training split.
        batch_size: examples per step, over all ranks.
        optimizer: name in timm's create_optimizer_v2.
        optimizer_options: its other keyword arguments.
        learning_rate: the maximum of the schedule.
        weight_decay: of parameters with two or more dimensions, except time scales.
        warmup_epochs: epochs of linear rise from warmup_learning_rate.
        warmup_learning_rate: start of the warm-up.
        min_learning_rate: end of the cosine.
        max_grad_norm: gradient clipping; None for none.
        label_smoothing: of the training loss.
        ema_decay: decay of the average of the weights, which is then evaluated and saved; None
            for no average.
        mixed_precision: "no", "bf16" or "fp16".
        callbacks: code that runs in the training loop, see evenfall.runs.Callback.
        seed: of initialisation, shuffling, augmentation and dropout.
    """

    task: str = "points"
    dataset: str = "modelnet10"
    dataset_options: dict[str, Any] = field(default_factory=dict)
    train_split: str = "train"
    valid_split: str | None = "valid"
    model: str | None = None
    model_options: dict[str, Any] = field(default_factory=dict)
    preparation: list[Any] = field(default_factory=list)
    augmentation: list[Any] = field(default_factory=list)
    cut_mix: float = 0.0
    votes: int = 1
    epochs: int = 50
    batch_size: int = 32
    optimizer: str = "adamw"
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: int = 0
    warmup_learning_rate: float = 1e-6
    min_learning_rate: float = 1e-6
    max_grad_norm: float | None = 10.0
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    mixed_precision: str = "no"
    callbacks: list[Any] = field(default_factory=list)
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)
        if self.model is None:
            object.__setattr__(self, "model", TASKS[self.task])
        check_choice("model", self.model, sorted(MODELS))
        if (self.model == TASKS["segments"]) != (self.task == "segments"):
            raise ValueError(
                f"task {self.task!r} does not fit model {self.model!r}: task 'segments' is that of "
                f"{TASKS['segments']}"
            )
        for name in ("dataset_options", "model_options", "optimizer_options"):
            check_type(name, getattr(self, name), dict)
        for name in ("preparation", "augmentation"):
            check_type(name, getattr(self, name), list)
        for name in ("dataset", "train_split", "optimizer"):
            check_type(name, getattr(self, name), str)
        for name in ("epochs", "batch_size", "votes"):
            check_integer(name, getattr(self, name), 1)
        for name in ("seed", "warmup_epochs"):
            check_integer(name, getattr(self, name), 0)
        for name in ("weight_decay", "warmup_learning_rate", "min_learning_rate"):
            check_number(name, getattr(self, name))
        check_number("learning_rate", self.learning_rate, above=True)
        check_number("max_grad_norm", self.max_grad_norm, above=True, or_none=True)
        check_number("label_smoothing", self.label_smoothing, below=1)
        check_number("ema_decay", self.ema_decay, below=1, or_none=True)
        check_choice("mixed_precision", self.mixed_precision, PRECISIONS)
        if not 0 <= self.cut_mix <= 1 or (self.cut_mix and self.task != "events"):
            raise ValueError(f"cut_mix must be in [0, 1], and 0 for points, got {self.cut_mix}")
        check_callbacks(self.callbacks)
        if self.task == "events" and "sensor_size" not in self.model_options:
            check_transforms(self.preparation, "preparation")
            check_transforms(self.augmentation, "augmentation")
        else:
            self.at_training()

    def at_training(self) -> Compose:
        """The transforms of a training example."""
        size = self.model_options.get("sensor_size")
        steps = [
            *make_transforms(self.preparation, "preparation", size).transforms,
            *make_transforms(self.augmentation, "augmentation", size).transforms,
        ]
        return Compose(steps)

    def at_evaluation(self) -> Compose:
        """The transforms of an example in evaluation, with augmentation if there are votes."""
        return self.at_training() if self.votes > 1 else self.prepared()

    def prepared(self) -> Compose:
        """The transforms of every example, without augmentation."""
        return make_transforms(
            self.preparation, "preparation", self.model_options.get("sensor_size")
        )

    def filled(self, dataset: Any) -> Recipe:
        """The recipe with what the training data gives: the options that the data set has found,
        and the model's sensor_size and polarities, if the recipe leaves them out.

        Raises:
            ValueError: the recipe has another sensor_size than the data set, and no preparation of
                your own that may change it.
        """
        found = {**getattr(dataset, "found_options", {}), **self.dataset_options}
        options = dict(self.model_options)
        for name in ("sensor_size", "polarities") if self.task == "events" else ():
            if name not in options and hasattr(dataset, name):
                value = getattr(dataset, name)
                options[name] = list(value) if isinstance(value, tuple) else value
        names = [name for one in self.preparation for name in ([one] if type(one) is str else one)]
        size = getattr(dataset, "sensor_size", None) if self.task == "events" else None
        if size is not None and not any(":" in name for name in names):
            stated = options["sensor_size"]
            if stated not in (list(size), tuple(size)):
                raise ValueError(
                    f"sensor_size in model_options must be that of the data, {list(size)}, got "
                    f"{stated}; leave it out to take the data's"
                )
        return replace(self, dataset_options=found, model_options=options)


def load_recipe(source: str | Path) -> Recipe:
    """Read a recipe from a file, or a bundled recipe by name.

    Raises:
        FileNotFoundError: there is no such file and no such bundled recipe.
        ValueError: the file is not YAML, a key is unknown (the message lists the known keys), or a
            value is out of range.
    """
    return read_recipe(find_file(source, shipped_recipes()), Recipe)


def shipped_recipes() -> dict[str, Path]:
    """The bundled recipes: name to file."""
    return bundled_files("evenfall_stream", "configs")
