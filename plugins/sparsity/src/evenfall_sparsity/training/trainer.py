"""Callbacks of recipes in transformers' Trainer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evenfall.counting import without_wrappers
from evenfall.errors import shorten
from evenfall.runs import Callback, TrainingContext, read_state
from evenfall.runs.states import CALLBACKS, write_callbacks

from ..calls import values_kept


class TrainerSparsity(TrainerCallback):
    """Runs one or more callbacks, such as `GradualPruning`, inside transformers' Trainer.

    Their states are saved in every checkpoint and loaded when a run resumes. With
    load_best_model_at_end, an evaluation counts from the one at which all callbacks agree on: a
    model that is pruned gradually is not the best one before it has its sparsity.

    Args:
        callbacks: the callbacks, called in this order.

    Raises:
        TypeError: one of them is not an `evenfall.runs.Callback`.
    """

    def __init__(self, *callbacks: Callback) -> None:
        for one in callbacks:
            if not isinstance(one, Callback):
                raise TypeError(f"callbacks must be evenfall.runs.Callback, got {shorten(one)}")
        self.callbacks = callbacks

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Prepare the model; load the states if the run resumes."""
        model = without_wrappers(kwargs["model"])
        # A run that resumes has its weights already, and the optimiser's moments fit them.
        weights = [*model.parameters(), *model.buffers()] if state.global_step else []
        with values_kept(weights):
            for callback in self.callbacks:
                callback.prepare(model)
        if state.global_step:
            folder = _checkpoint(args, state)
            if not (folder / f"{CALLBACKS}.json").is_file():
                raise ValueError(
                    f"checkpoint {folder} has no {CALLBACKS}.json: it was saved without these "
                    "callbacks, so the run cannot be resumed with them"
                )
            states = read_state(folder, CALLBACKS)
            if len(states) != len(self.callbacks):
                raise ValueError(
                    f"checkpoint {folder} has states of {len(states)} callbacks, but the run has "
                    f"{len(self.callbacks)}"
                )
            for callback, one in zip(self.callbacks, states, strict=True):
                callback.load_state_dict(one)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Forget the best model so far if it does not count: its weights are not removed yet."""
        if not all(callback.counts_as_best() for callback in self.callbacks):
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Call on_step_end of the callbacks."""
        context = _context(args, state, kwargs)
        for callback in self.callbacks:
            callback.on_step_end(context)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Call on_epoch_end of the callbacks."""
        context = _context(args, state, kwargs)
        for callback in self.callbacks:
            callback.on_epoch_end(context)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Call on_evaluate of the callbacks, with metrics such as "loss" for eval_loss."""
        context = _context(args, state, kwargs)
        for callback in self.callbacks:
            callback.on_evaluate(context)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Write the states into the checkpoint."""
        if state.is_world_process_zero:
            states = [(type(one).__name__, one.state_dict()) for one in self.callbacks]
            write_callbacks(_checkpoint(args, state), states)


def _context(
    args: TrainingArguments, state: TrainerState, about: dict[str, Any]
) -> TrainingContext:
    optimizer = about["optimizer"]
    return TrainingContext(
        model=without_wrappers(about["model"]),
        averaged_model=None,
        optimizer=getattr(optimizer, "optimizer", optimizer),  # unwrap Accelerate's
        step=state.global_step,
        total_steps=state.max_steps,
        epoch=max(math.ceil(state.epoch or 0), 1),
        folder=Path(args.output_dir),
        metrics={
            name.removeprefix("eval_"): value for name, value in about.get("metrics", {}).items()
        },
    )


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
