"""Callbacks: code that a recipe names and a training loop calls.

So a plugin can train the models of another plugin, and neither imports the other:

    callbacks:
      - my-callback                      # a registered name
      - my_package.pruning:Prune:        # or module:Name, here with options
          sparsity: 0.9
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall import registry
from evenfall.errors import CallbackError, shorten
from evenfall.recipes import refuse_flags
from evenfall.references import import_reference

from .states import CALLBACKS, read_state, write_callbacks


@dataclass(frozen=True)
class TrainingContext:
    """The state of a run that callbacks see.

    Attributes:
        model: the module that is trained, without wrappers for several ranks.
        averaged_model: the model with averaged weights if the recipe asks for one, which is then
            evaluated and published; otherwise None.
        optimizer: torch's optimiser; `optimizer.state[parameter]` has the moments.
        step: optimiser steps since the run began.
        total_steps: steps of the whole run.
        epoch: the current epoch, from 1.
        folder: the folder of the run; only the first rank may write there.
        metrics: in on_evaluate, "loss" and the metrics of the task; otherwise empty.
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
    """Base class of callbacks; its methods do nothing. Each rank has its own callback.

    A loop calls `prepare`, then `on_step_end` after each step, `on_epoch_end` after the last step
    of an epoch, `on_evaluate` after each evaluation, `counts_as_best` if the result may be the best
    one, and `state_dict` for each checkpoint. A resumed run calls `prepare`, loads the checkpoint,
    then calls `load_state_dict`.
    """

    def prepare(self, model: Any) -> None:
        """Change the model before its optimiser is made: set weights to zero, register hooks.

        Keep the names of parameters and buffers: checkpoints are loaded without the callback.
        """

    def on_step_end(self, context: TrainingContext) -> None:
        """A step is done and the average, if any, is updated; gradients are cleared."""

    def on_epoch_end(self, context: TrainingContext) -> None:
        """The last step of an epoch is done; the model is not evaluated yet."""

    def on_evaluate(self, context: TrainingContext) -> None:
        """The model is evaluated; `context.metrics` has the result."""

    def counts_as_best(self) -> bool:
        """Whether the model may become the best one after this evaluation. Pruning returns False
        until it has reached its sparsity. All callbacks must agree."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs: tensors, numbers, strings, None, and lists and dicts
        of these."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state from a checkpoint; tensors are on the CPU."""


class Callbacks:
    """The callbacks of one run, called in the order of the recipe.

    An error in a callback becomes a CallbackError that names it.

    Args:
        members: the callbacks, each with its name.
    """

    def __init__(self, members: list[tuple[str, Callback]]) -> None:
        self._members = members

    def prepare(self, model: Any) -> None:
        """Call prepare.

        Raises:
            CallbackError: a callback raises an error, or changes names in the model's state_dict.
        """
        for member in self._members:
            names = list(model.state_dict())
            self._call(member, "prepare", model)
            changed = sorted({*names} ^ {*model.state_dict()})
            if changed:
                raise CallbackError(
                    f"callback {member[0]!r}, prepare: names in the model's state_dict must not "
                    f"change, but {changed[:4]} did"
                )

    def on_step_end(self, context: TrainingContext) -> None:
        """Call on_step_end."""
        self._call_all("on_step_end", context)

    def on_epoch_end(self, context: TrainingContext) -> None:
        """Call on_epoch_end."""
        self._call_all("on_epoch_end", context)

    def on_evaluate(self, context: TrainingContext) -> None:
        """Call on_evaluate."""
        self._call_all("on_evaluate", context)

    def objections(self) -> list[str]:
        """The names of the callbacks whose counts_as_best returns False."""
        answers = [(member[0], self._call(member, "counts_as_best")) for member in self._members]
        return [name for name, agrees in answers if not agrees]

    def save(self, folder: Path) -> None:
        """Write the states into a checkpoint; nothing if there are no callbacks.

        Raises:
            CallbackError: a state cannot be written; the message names the callback.
        """
        if not self._members:
            return
        states = [(member[0], self._call(member, "state_dict")) for member in self._members]
        try:
            write_callbacks(folder, states)
        except TypeError as error:
            raise CallbackError(str(error)) from error

    def load(self, folder: Path) -> None:
        """Read the states from a checkpoint.

        Raises:
            ValueError: the file is missing or damaged, or belongs to other callbacks.
            CallbackError: a callback cannot load its state.
        """
        if not self._members:
            return
        if not any((folder / f"{CALLBACKS}{end}").is_file() for end in (".json", ".pt")):
            raise ValueError(
                f"checkpoint {folder} has no {CALLBACKS}.json: it was saved without callbacks, so "
                "the run cannot be resumed with them"
            )
        states = read_state(folder, CALLBACKS)
        if len(states) != len(self._members):
            raise ValueError(
                f"checkpoint {folder} has states of {len(states)} callbacks, but the run has "
                f"{len(self._members)}"
            )
        for member, state in zip(self._members, states, strict=True):
            self._call(member, "load_state_dict", state)

    @property
    def files(self) -> list[str]:
        """The files that `save` always adds to a checkpoint."""
        return [f"{CALLBACKS}.json"] if self._members else []

    def _call_all(self, method: str, context: TrainingContext) -> None:
        for member in self._members:
            self._call(member, method, context)

    @staticmethod
    def _call(member: tuple[str, Callback], method: str, *arguments: Any) -> Any:
        name, callback = member
        try:
            return getattr(callback, method)(*arguments)
        except Exception as error:
            raise CallbackError(
                f"callback {name!r}, {method}: {type(error).__name__}: {error}"
            ) from error


def check_callbacks(entries: Any) -> None:
    """Check the form of a recipe's `callbacks`; imports nothing.

    Raises:
        ValueError: not a list of NAME or NAME: {options}.
    """
    if not isinstance(entries, list | tuple):
        raise ValueError(f"callbacks must be a list, got {shorten(entries)}")
    for entry in entries:
        _name_and_options(entry)


def make_callbacks(entries: Any) -> Callbacks:
    """The callbacks that a recipe names, imported and made with their options.

    Raises:
        ValueError: an entry has another form, or options that the callback does not accept.
        UnknownNameError: no callback has this name; the message has the closest names.
        ReferenceImportError: the callback cannot be imported.
        CallbackError: the object with this name raises another error, or makes no Callback.
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
            f"callbacks must list NAME, module:Name or NAME: {{options}}, got {shorten(entry)}"
        )
    return name, options


def _make(name: str, options: dict[str, Any]) -> tuple[str, Callback]:
    what = f"callback {name!r}"
    kind: Any = import_reference(name, what) if ":" in name else registry.callbacks.get(name)
    if not callable(kind):
        raise CallbackError(f"callback {name!r} is a {type(kind).__name__}, want a Callback class")
    try:
        refuse_flags(kind, options)
        callback = kind(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"callback {name!r}: {error}") from error
    except Exception as error:
        raise CallbackError(f"callback {name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(callback, Callback):
        raise CallbackError(
            f"callback {name!r} makes a {type(callback).__name__}, want an evenfall.runs.Callback"
        )
    return name, callback
