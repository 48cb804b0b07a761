"""A training recipe: all settings of a run in one YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from evenfall.recipes import read_recipe
from evenfall.runs import check_callbacks

from ..models.configuration_egru import EgruConfig


@dataclass(frozen=True)
class Recipe:
    """The settings of `evenfall egru train`.

    Attributes:
        model: keyword arguments of EgruConfig; the tokenizer sets vocab_size.
        tokenizer: "word" (vocabulary from the training split) or "byte".
        epochs: passes over the training split.
        batch_size: contiguous streams of the text, trained in parallel, over all ranks.
        window: tokens of truncated backpropagation through time.
        learning_rate, weight_decay, betas: of AdamW; weight decay applies to matrices only.
        warmup_steps: steps of linear warm-up before the cosine decay to 0.
        max_grad_norm: largest norm of the gradient (clipping).
        seed: seed of initialisation, dropout and window offsets.
        bf16: mixed precision in bfloat16, where the device supports it.
        callbacks: code that runs inside the loop, see evenfall.runs.Callback.
    """

    model: dict[str, Any] = field(default_factory=dict)
    tokenizer: str = "word"
    epochs: int = 20
    batch_size: int = 20
    window: int = 35
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    seed: int = 0
    bf16: bool = False
    callbacks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.tokenizer not in ("word", "byte"):
            raise ValueError(f"tokenizer must be 'word' or 'byte', got {self.tokenizer!r}")
        for name in ("epochs", "batch_size", "window"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive integer, got {getattr(self, name)!r}")
        for name in ("seed", "warmup_steps"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must be 0 or a positive integer, got {getattr(self, name)!r}"
                )
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        check_callbacks(self.callbacks)
        keys = [f.name for f in fields(EgruConfig)]
        unknown = sorted(set(self.model) - set(keys))
        if unknown:
            raise ValueError(f"model has unknown keys {unknown}; known are {keys}")
        EgruConfig(**self.model)

    def config(self, **overrides: Any) -> EgruConfig:
        """The model's configuration."""
        return EgruConfig(**{**self.model, **overrides})


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        FileNotFoundError: no such file.
        ValueError: invalid YAML, an unknown key (the error lists the known keys), or a value out of
            range.
    """
    return read_recipe(path, Recipe)
