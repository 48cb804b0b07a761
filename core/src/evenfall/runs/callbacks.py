"""Callbacks of a recipe: code of others that runs inside a training loop.

A recipe names them, so that a plugin can train the models of another one and neither imports the
other:

    callbacks:
      - my-callback                      # a registered name
      - my_package.pruning:Prune:        # or module:Name, with options
          sparsity: 0.9
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall import registry
from evenfall.entries import import_reference
from evenfall.errors import CallbackError

from .callback_state import FILE, read_states, write_states


@dataclass(frozen=True)
class TrainingContext:
    """What a callback sees of the run.

    Attributes:
        model: the module that is trained, not wrapped for several ranks.
        averaged_model: the average of its weights where the recipe keeps one; this is then the
            model that is evaluated and published. Otherwise None.
        optimizer: torch's optimiser; `optimizer.state[parameter]` has the moments.
        step: optimiser steps done since the run began.
        total_steps: steps of the whole run.
        epoch: the epoch under way, the first is 1.
        folder: of the run; the first rank alone may write there.
        metrics: of the evaluation, in on_evaluate: "loss" and those of the task. Otherwise empty.
    """

    model: Any
    averaged_model: Any | None
    optimizer: Any
    step: int
    total_steps: int
    epoch: int
    folder: Path
    metrics: Mapping[str, float] = field(default_factory=dict)


class Callback:
    """Base class of callbacks; its methods do nothing. Every rank has its own.

    A loop calls `prepare`, then at each step `on_step_end`, after the last step of an epoch
    `on_epoch_end`, after each evaluation `on_evaluate`, then `counts_as_best` where the result is
    the best so far, and `state_dict` where it writes a checkpoint. A resumed run calls `prepare`,
    loads the checkpoint, then calls `load_state_dict`.
    """

    def prepare(self, model: Any) -> None:
        """Change the model before its optimiser is made: set weights to zero, register hooks.

        Names of parameters and buffers must stay, since checkpoints are read without the callback.
        """

    def on_step_end(self, context: TrainingContext) -> None:
        """A step was taken and the average, if any, was updated; gradients are gone."""

    def on_epoch_end(self, context: TrainingContext) -> None:
        """The last step of an epoch was taken; nothing is evaluated yet."""

    def on_evaluate(self, context: TrainingContext) -> None:
        """The model was evaluated; `context.metrics` has the result."""

    def counts_as_best(self) -> bool:
        """Whether the model just evaluated may become the best one. Pruning says no until it has
        reached its sparsity. All callbacks must agree."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: tensors, numbers, strings, None, lists and dicts of these."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of a checkpoint, tensors on the CPU."""


class Callbacks:
    """The callbacks of one run, called in the order of the recipe.

    Where one raises, the error is a CallbackError that names it.

    Args:
        members: each with its name.
    """

    def __init__(self, members: list[tuple[str, Callback]]) -> None:
        self._members = members

    def prepare(self, model: Any) -> None:
        """Call prepare.

        Raises:
            CallbackError: one raises, or changes the names in the model's state_dict.
        """
        for member in self._members:
            names = list(model.state_dict())
            self._ask(member, "prepare", model)
            changed = sorted({*names} ^ {*model.state_dict()})
            if changed:
                raise CallbackError(
                    f"callback {member[0]!r}, prepare: the model's state_dict differs in "
                    f"{changed[:4]}; a callback must keep its names"
                )

    def on_step_end(self, context: TrainingContext) -> None:
        """Call on_step_end."""
        self._tell("on_step_end", context)

    def on_epoch_end(self, context: TrainingContext) -> None:
        """Call on_epoch_end."""
        self._tell("on_epoch_end", context)

    def on_evaluate(self, context: TrainingContext) -> None:
        """Call on_evaluate."""
        self._tell("on_evaluate", context)

    def objections(self) -> list[str]:
        """The names of those to whom the model just evaluated does not count as best."""
        asked = [(m[0], self._ask(m, "counts_as_best")) for m in self._members]
        return [name for name, agrees in asked if not agrees]

    def save(self, folder: Path) -> None:
        """Write the states into a checkpoint; nothing where there are no callbacks.

        Raises:
            CallbackError: a state cannot be written; the message names the callback.
        """
        if not self._members:
            return
        states = [(member[0], self._ask(member, "state_dict")) for member in self._members]
        try:
            write_states(folder, states)
        except TypeError as error:
            raise CallbackError(str(error)) from error

    def load(self, folder: Path) -> None:
        """Read the states from a checkpoint.

        Raises:
            ValueError: the file is missing, damaged, or of other callbacks.
            CallbackError: a callback does not take its state.
        """
        if not self._members:
            return
        states = read_states(folder)
        if len(states) != len(self._members):
            raise ValueError(
                f"checkpoint {folder} has states of {len(states)} callbacks, the recipe names "
                f"{len(self._members)}"
            )
        for member, state in zip(self._members, states, strict=True):
            self._ask(member, "load_state_dict", state)

    @property
    def files(self) -> list[str]:
        """What `save` adds to a checkpoint for certain."""
        return [FILE] if self._members else []

    def _tell(self, method: str, context: TrainingContext) -> None:
        for member in self._members:
            self._ask(member, method, context)

    @staticmethod
    def _ask(member: tuple[str, Callback], method: str, *arguments: Any) -> Any:
        name, callback = member
        try:
            return getattr(callback, method)(*arguments)
        except Exception as error:
            raise CallbackError(
                f"callback {name!r}, {method}: {type(error).__name__}: {error}"
            ) from error


def check_callbacks(entries: Any) -> None:
    """Check the form of a recipe's `callbacks`; nothing is imported.

    Raises:
        ValueError: not a list of NAME or NAME: {options}.
    """
    if not isinstance(entries, list | tuple):
        raise ValueError(f"callbacks must be a list, got {entries!r}")
    for entry in entries:
        _name_and_options(entry)


def make_callbacks(entries: Any) -> Callbacks:
    """The callbacks that a recipe names, imported and made with their options.

    Raises:
        ValueError: an entry of another form, or options that the callback does not take.
        UnknownNameError: no callback is registered under a name; the closest names follow.
        ReferenceImportError: it cannot be imported.
        CallbackError: what the name stands for makes no Callback.
    """
    check_callbacks(entries)
    return Callbacks([_make(*_name_and_options(entry)) for entry in entries])


def _name_and_options(entry: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, options),) = entry.items()
        options = {} if options is None else options
    else:
        name, options = entry, {}
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError(
            f"callbacks must list NAME, module:Name or NAME: {{options}}, got {entry!r}"
        )
    return name, options


def _make(name: str, options: dict[str, Any]) -> tuple[str, Callback]:
    what = f"callback {name!r}"
    kind: Any = import_reference(name, what) if ":" in name else registry.callbacks.get(name)
    if not callable(kind):
        raise CallbackError(f"callback {name!r} is a {type(kind).__name__}, want a Callback class")
    try:
        made = kind(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"callback {name!r}: {error}") from error
    if not isinstance(made, Callback):
        raise CallbackError(
            f"callback {name!r} makes a {type(made).__name__}, want an evenfall.runs.Callback"
        )
    return name, made
