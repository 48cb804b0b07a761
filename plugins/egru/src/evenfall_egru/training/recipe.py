"""A training recipe: all settings of a run in one YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall.checks import check_choice, check_integer, check_number
from evenfall.errors import shorten

from ..baselines import RnnConfig
from ..models.configuration_egru import EgruConfig
from .bundled import load_any
from .checks import (
    MOST_EPOCHS,
    check_model_keys,
    check_optimizer,
    make_config,
)

_FROM_TOKENIZER = dict.fromkeys(
    ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id"), "the tokenizer"
)


@dataclass(frozen=True)
class Recipe:
    """The settings of `evenfall egru train`.

    Attributes:
        model: `type`, which is "egru" (the default), "lstm" or "gru", and keyword arguments of
            EgruConfig or RnnConfig, without vocab_size, which comes from the tokenizer.
        tokenizer: "word" (vocabulary from the training split) or "byte".
        initial_checkpoint: folder, or model on the Hub, with the weights and the tokenizer to begin
            with; `tokenizer` is then ignored. None begins at random.
        epochs: passes over the training split; 0.5 is the first half of one.
        batch_size: contiguous streams of the text, trained in parallel, over all ranks.
        window: tokens of truncated backpropagation through time.
        window_jitter: standard deviation of the length of a window, in tokens. The learning rate
            of a step is multiplied by the length of its window / `window`.
        short_windows: share of windows of half the length.
        learning_rate, weight_decay, betas: of AdamW; weight decay applies to matrices only.
        threshold_learning_rate: learning rate of the thresholds; 0 keeps them; None is
            `learning_rate`.
        schedule: "cosine" (decay to 0 at the end) or "constant".
        cosine_start: epochs at the full learning rate before the cosine.
        warmup_steps: steps of linear warm-up before it.
        max_grad_norm: largest norm of the gradient (clipping); 0 for none.
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
    window_jitter: float = 0.0
    short_windows: float = 0.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    threshold_learning_rate: float | None = None
    schedule: str = "cosine"
    cosine_start: float = 0.0
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    seed: int = 0
    bf16: bool = False
    callbacks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_choice("tokenizer", self.tokenizer, ("word", "byte"))
        check_choice("schedule", self.schedule, ("cosine", "constant"))
        if self.initial_checkpoint is not None and not isinstance(self.initial_checkpoint, str):
            got = shorten(self.initial_checkpoint)
            raise ValueError(f"initial_checkpoint must be a folder or a name, got {got}")
        check_number("epochs", self.epochs, below=MOST_EPOCHS, above=True)
        check_integer("window", self.window, 1)
        check_number("window_jitter", self.window_jitter, below=self.window / 2)
        check_number("short_windows", self.short_windows, below=1.0)
        check_number("cosine_start", self.cosine_start)
        if self.cosine_start and self.schedule != "cosine":
            raise ValueError(f"cosine_start needs schedule 'cosine', got {shorten(self.schedule)}")
        if self.cosine_start >= self.epochs:
            raise ValueError(
                f"cosine_start must be below epochs ({shorten(self.epochs)}), got "
                f"{shorten(self.cosine_start)}"
            )
        check_optimizer(self)
        self.config()

    def config(self, **overrides: Any) -> EgruConfig | RnnConfig:
        """The model's configuration.

        Raises:
            ValueError: an unknown type or key, or a value out of range.
        """
        model = self.model if isinstance(self.model, dict) else {}
        kind = model.get("type", "egru")
        if kind not in ("egru", "lstm", "gru"):
            raise ValueError(f"model: type must be 'egru', 'lstm' or 'gru', got {shorten(kind)}")
        config: type[EgruConfig | RnnConfig] = EgruConfig if kind == "egru" else RnnConfig
        check_model_keys(self.model, kind, config, _FROM_TOKENIZER, ("type",))
        settings = {name: value for name, value in model.items() if name != "type"}
        cell = {} if kind == "egru" else {"cell": kind}
        return make_config(config, {**cell, **settings, **overrides})


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a file, or a bundled one by its name.

    Raises:
        FileNotFoundError: no such file and no such bundled recipe.
        ValueError: invalid YAML, an unknown key (the error lists the known keys), or a value out of
            range.
    """
    return load_any(path, Recipe, "train")
