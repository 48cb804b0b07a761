"""Callbacks of recipes in transformers' Trainer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evenfall.counting import without_wrappers
from evenfall.errors import shorten
from evenfall.runs import Callback, Callbacks, TrainingContext

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

    In training, an error of a callback is a CallbackError that names it, and a checkpoint of other
    callbacks a ValueError.
    """

    def __init__(self, *callbacks: Callback) -> None:
        for one in callbacks:
            if not isinstance(one, Callback):
                raise TypeError(f"callbacks must be evenfall.runs.Callback, got {shorten(one)}")
        self.callbacks = Callbacks([(type(one).__name__, one) for one in callbacks])

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
            self.callbacks.prepare(model)
        if state.global_step:
            self.callbacks.load(_checkpoint(args, state))

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Forget the best model so far if it does not count: its weights are not removed yet."""
        if self.callbacks.objections():
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Call on_step_end of the callbacks."""
        self.callbacks.on_step_end(_context(args, state, kwargs))

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Call on_epoch_end of the callbacks."""
        self.callbacks.on_epoch_end(_context(args, state, kwargs))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Call on_evaluate of the callbacks, with metrics such as "loss" for eval_loss."""
        self.callbacks.on_evaluate(_context(args, state, kwargs))

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Write the states into the checkpoint."""
        if state.is_world_process_zero:
            self.callbacks.save(_checkpoint(args, state))


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
