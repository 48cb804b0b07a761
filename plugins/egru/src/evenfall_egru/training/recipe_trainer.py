"""What the trainers of this plugin add to transformers' Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerControl

from evenfall.runs import Callbacks

_VECTORS = (".bias", ".recurrent_bias", ".threshold", "bias_ih_l0", "bias_hh_l0")


class RecipeTrainer(Trainer):
    """Trainer with a recipe's callbacks.

    Args:
        recipe_callbacks: the recipe's callbacks; their states are part of each checkpoint.
    """

    control: TrainerControl

    def __init__(self, *args: Any, recipe_callbacks: Callbacks, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recipe_callbacks = recipe_callbacks

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Weight decay applies to matrices, not to biases and thresholds."""
        return [name for name, _ in model.named_parameters() if not name.endswith(_VECTORS)]

    def report(self, metrics: dict[str, float]) -> None:
        """Log the result of an evaluation and pass it to the callbacks."""
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        if self.recipe_callbacks.objections():
            return False
        return bool(super()._determine_best_metric(metrics, trial))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load both, then set the learning rate of the next step by the schedule: in an extended
        run it differs from the stored one, which is 0 at the end of the shorter run."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        # Accelerate wraps it.
        schedule: Any = getattr(self.lr_scheduler, "scheduler", self.lr_scheduler)
        factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
        rates = [rate * factor for rate, factor in zip(schedule.base_lrs, factors, strict=True)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates

    def _save_rng_state(self, output_dir: str) -> None:
        """Also save the callbacks' states."""
        super()._save_rng_state(output_dir)
        if self.is_world_process_zero():
            self.recipe_callbacks.save(Path(output_dir))
