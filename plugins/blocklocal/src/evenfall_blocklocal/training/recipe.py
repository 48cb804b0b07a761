"""The recipe of a run: every choice, as a dataclass that a YAML file fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall.checks import check_choice, check_flag, check_integer, check_number, check_type
from evenfall.errors import shorten
from evenfall.recipes import bundled_files, find_file, read_recipe
from evenfall.runs import check_callbacks

from ..rules import RULES, make_options
from ..splitting.split import BALANCES, TIED

TEXT = "text"


@dataclass(frozen=True)
class Recipe:
    """One run of `evenfall blocklocal train`.

    Attributes:
        data: "two-digits", "mnist" or "cifar10-subset", which are images; "text"; or a data set of
            points or events that a plugin registers (`evenfall datasets`).
        data_options: of a registered data set.
        folder: the folder of text or of a registered data set among data sets.
        train_split, test_split: their splits.
        folds: of a registered data set: put both splits together and test on one of so many parts,
            which the seed chooses; None for the splits.
        window: tokens of a window of text.
        model: "two-digits-cnn", "small-cnn" or "mlp"; the name of a timm model, of a model that a
            plugin registers (`evenfall models`), or of a language model of transformers.
        model_options: keyword arguments of the model, or of its configuration.
        rule: of learning.
        blocks: their number; `boundaries` decides it, if given.
        boundaries: the modules after which blocks end; None to choose.
        balance: as in split_blocks.
        tied: as in split_blocks.
        options: of the rule, as in RuleOptions.
        epochs, batch_size: of training.
        learning_rate: the peak of one cycle: up for 30 % of the steps, then down, both as a cosine.
        weight_decay: of AdamW.
        max_grad_norm: clips the norm of all gradients; None does not.
        bf16: train in mixed precision, bfloat16; the model is evaluated in float32.
        channels_last: keep the weights and features of convolutions in this memory format; faster
            on most CPUs and GPUs, and equal within rounding.
        train_samples, test_samples: how many samples to use; None for all.
        seed: of the weights, the order of the samples, and dropout.
        callbacks: called by the loop, see `evenfall.runs.callbacks`.
    """

    data: str = "two-digits"
    data_options: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    folds: int | None = None
    window: int = 64
    model: str = "two-digits-cnn"
    model_options: dict[str, Any] = field(default_factory=dict)
    rule: str = "bll"
    blocks: int = 4
    boundaries: tuple[str, ...] | None = None
    balance: str | None = None
    tied: str = "refuse"
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 6
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    max_grad_norm: float | None = None
    bf16: bool = False
    channels_last: bool = False
    train_samples: int | None = None
    test_samples: int | None = None
    seed: int = 0
    callbacks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("data", "model", "train_split", "test_split"):
            check_type(name, getattr(self, name), str)
        if self.folder is not None:
            check_type("folder", self.folder, str)
        if self.folds is not None:
            check_integer("folds", self.folds, 2)
        check_choice("rule", self.rule, RULES)
        for name in ("blocks", "epochs", "batch_size", "window"):
            check_integer(name, getattr(self, name), 1)
        for name in ("train_samples", "test_samples"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1)
        check_number("learning_rate", self.learning_rate, above=True)
        check_number("weight_decay", self.weight_decay)
        check_number("max_grad_norm", self.max_grad_norm, above=True, or_none=True)
        for name in ("bf16", "channels_last"):
            check_flag(name, getattr(self, name))
        if self.boundaries is not None:
            object.__setattr__(self, "boundaries", _names("boundaries", self.boundaries))
            self._check_blocks(len(self.boundaries) + 1)
        if self.balance is not None:
            check_choice("balance", self.balance, BALANCES)
        check_choice("tied", self.tied, TIED)
        for name in ("model_options", "data_options", "options"):
            check_type(name, getattr(self, name), dict)
        check_integer("seed", self.seed, 0)
        check_callbacks(self.callbacks)
        self.rule_options()

    def _check_blocks(self, number: int) -> None:
        if self.blocks not in (number, type(self).blocks):
            raise ValueError(
                f"blocks must be {number}, one more than the boundaries, or be left out, got "
                f"{self.blocks}"
            )

    def rule_options(self) -> Mapping[str, Any]:
        """The options with tuples for lists, as YAML has no tuples."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in self.options.items()}
        make_options(values)
        return values


def _names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} must be a list of names of modules, got {shorten(value)}")
    return tuple(value)


def load_recipe(source: str | Path) -> Recipe:
    """Read a recipe from a YAML file, or the bundled one of that name.

    Raises:
        FileNotFoundError: no such file or bundled recipe.
        ValueError: an unknown key, or a value out of range.
    """
    return read_recipe(find_file(source, bundled_files("evenfall_blocklocal", "configs")), Recipe)
