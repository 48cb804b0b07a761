"""What a run adds to transformers' Trainer, as callbacks of the host's kind."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from evenfall.runs import Callbacks, Progress, RunFolder, TrainingContext

logger = logging.getLogger(__name__)


class LogLines(TrainerCallback):
    """Every logged figure as a line of log.jsonl."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs:
            self.folder.log({"step": state.global_step, **logs})
            shown = (f"{name} {_short(value)}" for name, value in logs.items())
            logger.info("step %d  %s", state.global_step, "  ".join(shown))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class EachEpoch(TrainerCallback):
    """Evaluates and saves at the end of an epoch where no step just did."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if args.save_strategy == "epoch" or state.global_step % args.save_steps:
            control.should_evaluate = control.should_save = True
        return control


class RecipeCallbacks(TrainerCallback):
    """The recipe's callbacks in Trainer's loop, and the report of progress.

    Args:
        callbacks: of the recipe.
        folder: of the run.
        steps: of an epoch.
        checkpoint: at which the run continues, or None.
        progress: told after each step.
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

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The checkpoint is loaded: find the best one, and load the states of the callbacks."""
        if state.best_global_step:
            # Trainer keeps the path of then; the folder of the run may have moved.
            best = self.folder.path / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best) if best.is_dir() else None
        if self.checkpoint is not None:
            self.callbacks.load(self.checkpoint)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the callbacks, of the end of an epoch too: Trainer may save at this very step, and
        a run that is resumed there does not see the end of that epoch again."""
        context = self._context(state, kwargs)
        self.callbacks.on_step_end(context)
        done = (state.global_step - 1) % self.steps + 1
        if done == self.steps:
            self.callbacks.on_epoch_end(context)
        if self.progress is not None:
            self.progress(f"epoch {context.epoch} of {args.num_train_epochs:g}", done, self.steps)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        plain = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
        self.callbacks.on_evaluate(self._context(state, kwargs, plain))

    def _context(
        self, state: Any, given: dict[str, Any], metrics: dict[str, float] | None = None
    ) -> TrainingContext:
        optimizer = given["optimizer"]
        return TrainingContext(
            model=given["model"],
            averaged_model=None,
            optimizer=getattr(optimizer, "optimizer", optimizer),  # inside of Accelerate's
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=(state.global_step - 1) // self.steps + 1,
            folder=self.folder.path,
            metrics=metrics or {},
        )
