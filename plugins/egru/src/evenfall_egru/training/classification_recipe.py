"""A recipe to train a classifier of frame sequences."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from evenfall.recipes import read_recipe
from evenfall.runs import check_callbacks

from ..models.configuration_egru import EgruConfig

CELLS = ("egru", "gru", "lstm")


@dataclass(frozen=True)
class ClassificationRecipe:
    """The settings of `evenfall egru classify`.

    Attributes:
        model: keyword arguments of EgruConfig; the data sets embedding_size and num_labels.
        cell: "egru"; or "gru" or "lstm" for a baseline with torch's layers, which uses only
            hidden_sizes, hidden_dropout and output_dropout of `model`.
        dataset: name of a registered data set of frames.
        dataset_options: its options, such as `pixels: 4` for MNIST.
        epochs: passes over the training split.
        batch_size: sequences per step, over all ranks.
        learning_rate, weight_decay, betas: of AdamW; weight decay applies to matrices only.
        warmup_steps: steps of linear warm-up before the cosine decay to 0.
        max_grad_norm: largest norm of the gradient (clipping).
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
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    seed: int = 0
    bf16: bool = False
    callbacks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {self.cell!r}")
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("warmup_steps", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        check_callbacks(self.callbacks)
        keys = sorted({f.name for f in fields(EgruConfig)} - {"embedding_size", "vocab_size"})
        unknown = sorted(set(self.model) - set(keys))
        if unknown:
            raise ValueError(f"model has unknown keys {unknown}; known are {keys}")
        EgruConfig(**self.model)

    def config(self, features: int, labels: int) -> EgruConfig:
        """The configuration of a model for frames of `features` numbers and `labels` classes."""
        settings = {"vocab_size": 0, "embedding_size": features, "num_labels": labels}
        return EgruConfig(**self.model, **settings, use_cache=False, tie_word_embeddings=False)


def load_classification_recipe(path: str | Path) -> ClassificationRecipe:
    """Read a recipe.

    Raises:
        FileNotFoundError: no such file.
        ValueError: invalid YAML, an unknown key (the error lists the known keys), or a value out of
            range.
    """
    return read_recipe(path, ClassificationRecipe)
