"""A recipe to train a classifier of frame sequences."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenfall.checks import check_choice, check_integer, check_type

from ..models.configuration_egru import EgruConfig
from .bundled import load_any
from .checks import MOST_EPOCHS, check_model_keys, check_optimizer, make_config

CELLS = ("egru", "gru", "lstm")
_FROM_DATA = {
    **dict.fromkeys(("embedding_size", "num_labels"), "the data set"),
    **dict.fromkeys(("vocab_size", "tie_word_embeddings"), "the task, which has no words"),
}


@dataclass(frozen=True)
class ClassificationRecipe:
    """The settings of `evenfall egru classify`.

    Attributes:
        model: keyword arguments of EgruConfig, without embedding_size and num_labels, which come
            from the data set.
        cell: "egru"; or "gru" or "lstm" for a baseline with torch's layers, which uses only
            hidden_sizes, hidden_dropout and output_dropout of `model`.
        dataset: name of a registered data set of frames.
        dataset_options: its options, such as `pixels: 4` for MNIST.
        epochs: passes over the training split.
        batch_size: sequences per step, over all ranks.
        learning_rate, weight_decay, betas: of AdamW; weight decay applies to matrices only.
        threshold_learning_rate: learning rate of the thresholds; 0 keeps them; None is
            `learning_rate`.
        warmup_steps: steps of linear warm-up before the cosine decay to 0.
        max_grad_norm: largest norm of the gradient (clipping); 0 for none.
        seed: seed of initialisation, dropout and order.
        bf16: mixed precision in bfloat16, where the device supports it.
        callbacks: code that runs inside the loop, see evenfall.runs.Callback.
    """

    model: dict[str, Any] = field(default_factory=dict)
    cell: str = "egru"
    dataset: str = "mnist"
    dataset_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    threshold_learning_rate: float | None = None
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    seed: int = 0
    bf16: bool = False
    callbacks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_choice("cell", self.cell, CELLS)
        check_type("dataset", self.dataset, str)
        check_type("dataset_options", self.dataset_options, dict)
        check_integer("epochs", self.epochs, 1, MOST_EPOCHS)
        check_optimizer(self)
        check_model_keys(self.model, "a classifier", EgruConfig, _FROM_DATA)
        make_config(EgruConfig, self.model)

    def with_choices(
        self, seed: int | None = None, cell: str | None = None, fold: int | None = None
    ) -> ClassificationRecipe:
        """The recipe with another seed, cell, or `fold` in dataset_options; None keeps its own."""
        options = self.dataset_options if fold is None else {**self.dataset_options, "fold": fold}
        return replace(
            self,
            seed=self.seed if seed is None else seed,
            cell=self.cell if cell is None else cell,
            dataset_options=options,
        )

    def config(self, features: int, labels: int) -> EgruConfig:
        """The configuration of a model for frames of `features` numbers and `labels` classes."""
        settings = {"vocab_size": 0, "embedding_size": features, "num_labels": labels}
        fixed = {"use_cache": False, "tie_word_embeddings": False}
        return make_config(EgruConfig, {**self.model, **settings, **fixed})


def load_classification_recipe(path: str | Path) -> ClassificationRecipe:
    """Read a recipe from a file, or a bundled one by its name.

    Raises:
        FileNotFoundError: no such file and no such bundled recipe.
        ValueError: invalid YAML, an unknown key (the error lists the known keys), or a value out of
            range.
    """
    return load_any(path, ClassificationRecipe, "classify")
