"""Checks of a recipe's values that both kinds of recipes share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from evenfall.checks import check_flag, check_integer, check_number
from evenfall.errors import shorten, shorten_text
from evenfall.runs import check_callbacks

from ..baselines import RnnConfig
from ..models.configuration_egru import EgruConfig

MOST_EPOCHS = 10**6


def check_optimizer(recipe: Any) -> None:
    """Check what every recipe has: AdamW, clipping, seed, batch size, callbacks."""
    check_integer("batch_size", recipe.batch_size, 1)
    check_integer("warmup_steps", recipe.warmup_steps, 0)
    check_integer("seed", recipe.seed, 0, 2**32)
    check_number("learning_rate", recipe.learning_rate, above=True)
    check_number("threshold_learning_rate", recipe.threshold_learning_rate, or_none=True)
    check_number("weight_decay", recipe.weight_decay)
    check_number("max_grad_norm", recipe.max_grad_norm)
    if not isinstance(recipe.betas, (list, tuple)) or len(recipe.betas) != 2:
        raise ValueError(f"betas must be two numbers, got {shorten(recipe.betas)}")
    for beta in recipe.betas:
        check_number("each of betas", beta, below=1.0)
    check_flag("bf16", recipe.bf16)
    check_callbacks(recipe.callbacks)


def check_model_keys(
    model: Any,
    kind: str,
    config: type[EgruConfig | RnnConfig],
    elsewhere: dict[str, str],
    also: Collection[str] = (),
) -> None:
    """Check the keys of a recipe's `model`.

    Args:
        model: the value of the recipe.
        kind: what it is, for messages.
        config: the class of the configuration.
        elsewhere: keys that come from elsewhere, each with its source.
        also: keys that are no fields of the configuration.

    Raises:
        ValueError: not a mapping, a key that comes from elsewhere, or an unknown one.
    """
    if not isinstance(model, dict):
        raise ValueError(f"model must be a mapping, got {shorten(model)}")
    for name, source in elsewhere.items():
        if name in model:
            raise ValueError(f"model must not set {name}, which comes from {source}")
    hidden = {*elsewhere, "cell", "use_cache"}
    own = [f.name for f in fields(config) if f.name in config.__annotations__]
    known = [*also, *(name for name in own if name not in hidden)]
    unknown = sorted(str(name) for name in set(model) - set(known))
    if unknown:
        raise ValueError(f"model has unknown keys {shorten(unknown)}; known for {kind} are {known}")


def make_config(
    config: type[EgruConfig | RnnConfig], settings: dict[str, Any]
) -> EgruConfig | RnnConfig:
    """A configuration with these settings.

    Raises:
        ValueError: a value of the wrong type or out of range.
    """
    try:
        return config(**settings)
    except ValueError:
        raise
    except Exception as error:  # the errors of strict data classes are of several classes
        raise ValueError(f"model: {shorten_text(' '.join(str(error).split()))}") from error
