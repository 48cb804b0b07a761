"""What a run adds to transformers' Trainer, as TrainerCallbacks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evenfall.runs import Callbacks, Progress, RunFolder, TrainingContext

logger = logging.getLogger(__name__)


class LogLines(TrainerCallback):
    """Writes what Trainer logs to log.jsonl."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs:
            self.folder.log({"step": state.global_step, **logs})
            figures = (f"{name} {_short(value)}" for name, value in logs.items())
            logger.info("step %d  %s", state.global_step, "  ".join(figures))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class EachEpoch(TrainerCallback):
    """Evaluates and saves at the end of an epoch, unless the last step did."""

    _evaluated = 0  # the last step with an evaluation

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._evaluated = state.global_step

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        if self._evaluated != state.global_step:
            control.should_evaluate = control.should_save = True
        return control


class RecipeCallbacks(TrainerCallback):
    """Calls the recipe's callbacks in Trainer's loop, and reports progress.

    Args:
        callbacks: the recipe's callbacks.
        folder: folder of the run.
        steps: steps per epoch.
        checkpoint: the checkpoint that the run resumes from, or None.
        progress: called after each step.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        folder: RunFolder,
        steps: int,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> None:
        self.callbacks, self.folder, self.steps = callbacks, folder, steps
        self.checkpoint, self.progress = checkpoint, progress

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Find the best checkpoint and load the callbacks' states, after Trainer's own state."""
        if state.best_global_step:
            # Trainer stored the path of an earlier run; the folder may have moved since.
            best = self.folder.path / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best) if best.is_dir() else None
        if self.checkpoint is not None:
            self.callbacks.load(self.checkpoint)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Call the callbacks' on_step_end, and here also on_epoch_end: Trainer may save at this
        step, and a run that resumes from there does not repeat the end of the epoch."""
        context = self._context(state, kwargs)
        self.callbacks.on_step_end(context)
        step = (state.global_step - 1) % self.steps + 1
        if step == self.steps:
            self.callbacks.on_epoch_end(context)
        if self.progress is not None:
            self.progress(f"epoch {context.epoch} of {args.num_train_epochs:g}", step, self.steps)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        metrics = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
        self.callbacks.on_evaluate(self._context(state, kwargs, metrics))

    def _context(
        self,
        state: TrainerState,
        arguments: dict[str, Any],
        metrics: dict[str, float] | None = None,
    ) -> TrainingContext:
        optimizer = arguments["optimizer"]
        return TrainingContext(
            model=arguments["model"],
            averaged_model=None,
            optimizer=getattr(optimizer, "optimizer", optimizer),  # unwrap Accelerate's
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=(state.global_step - 1) // self.steps + 1,
            folder=self.folder.path,
            metrics=metrics or {},
        )
