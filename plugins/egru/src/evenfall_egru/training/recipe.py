"""A training recipe: all settings of a run in one YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from evenfall.recipes import read_recipe
from evenfall.runs import check_callbacks

from ..baselines import RnnConfig
from ..models.configuration_egru import EgruConfig


@dataclass(frozen=True)
class Recipe:
    """The settings of `evenfall egru train`.

    Attributes:
        model: `type`, which is "egru" (the default), "lstm" or "gru", and keyword arguments of
            EgruConfig or RnnConfig; the tokenizer sets vocab_size.
        tokenizer: "word" (vocabulary from the training split) or "byte".
        initial_checkpoint: folder, or model on the Hub, with the weights and the tokenizer to begin
            with; `tokenizer` is then ignored. None begins at random.
        epochs: passes over the training split; 0.5 is the first half of one.
        batch_size: contiguous streams of the text, trained in parallel, over all ranks.
        window: tokens of truncated backpropagation through time.
        learning_rate, weight_decay, betas: of AdamW; weight decay applies to matrices only.
        schedule: "cosine" (decay to 0 at the end) or "constant".
        warmup_steps: steps of linear warm-up before it.
        max_grad_norm: largest norm of the gradient (clipping).
        seed: seed of initialisation, dropout and window offsets.
        bf16: mixed precision in bfloat16, where the device supports it.
        callbacks: code that runs inside the loop, see evenfall.runs.Callback.
    """

    model: dict[str, Any] = field(default_factory=dict)
    tokenizer: str = "word"
    initial_checkpoint: str | None = None
    epochs: float = 20
    batch_size: int = 20
    window: int = 35
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "cosine"
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    seed: int = 0
    bf16: bool = False
    callbacks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.tokenizer not in ("word", "byte"):
            raise ValueError(f"tokenizer must be 'word' or 'byte', got {self.tokenizer!r}")
        if self.schedule not in ("cosine", "constant"):
            raise ValueError(f"schedule must be 'cosine' or 'constant', got {self.schedule!r}")
        if self.initial_checkpoint is not None and not isinstance(self.initial_checkpoint, str):
            raise ValueError(
                f"initial_checkpoint must be a folder or a name, got {self.initial_checkpoint!r}"
            )
        if not 0 < self.epochs < float("inf"):
            raise ValueError(f"epochs must be positive, got {self.epochs}")
        for name in ("batch_size", "window"):
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
        self.config()

    def config(self, **overrides: Any) -> EgruConfig | RnnConfig:
        """The model's configuration.

        Raises:
            ValueError: an unknown type or key, or a value out of range.
        """
        settings = {**self.model, **overrides}
        kind = settings.pop("type", "egru")
        if kind not in ("egru", "lstm", "gru"):
            raise ValueError(f"model: type must be 'egru', 'lstm' or 'gru', got {kind!r}")
        config: type[EgruConfig | RnnConfig] = EgruConfig if kind == "egru" else RnnConfig
        keys = ["type", *(f.name for f in fields(config) if f.name != "cell")]
        unknown = sorted(set(settings) - set(keys))
        if unknown:
            raise ValueError(f"model has unknown keys {unknown}; known for {kind} are {keys}")
        return config(**settings) if kind == "egru" else config(cell=kind, **settings)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        FileNotFoundError: no such file.
        ValueError: invalid YAML, an unknown key (the error lists the known keys), or a value out of
            range.
    """
    return read_recipe(path, Recipe)
