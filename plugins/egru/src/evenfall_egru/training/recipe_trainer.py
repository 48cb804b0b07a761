"""What the trainers of this plugin add to transformers' Trainer."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerControl
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME

from evenfall.errors import CallbackError, shorten
from evenfall.files import writing
from evenfall.runs import Callbacks, read_state, write_state

from .classification_recipe import ClassificationRecipe
from .denormals import flushed_denormals
from .recipe import Recipe
from .schedule import rate_factor

_VECTORS = (".bias", ".recurrent_bias", ".threshold", "bias_ih_l0", "bias_hh_l0")
_THRESHOLD = ".threshold"


class RecipeTrainer(Trainer):
    """Trainer with a recipe's callbacks, learning rates and checkpoints without pickles.

    A checkpoint has optimizer.json and rng-R.json of rank R, with a .safetensors for their tensors,
    in place of Trainer's pickles. rng-R.json also has the losses since the last line of the log, so
    that a resumed run logs what one without a break does. With DeepSpeed or FSDP the optimiser's
    state is theirs.

    Args:
        recipe: the settings of the run.
        steps: steps of an epoch.
        recipe_callbacks: the recipe's callbacks; their states are part of each checkpoint.
    """

    control: TrainerControl
    lr_scheduler: Any
    # Trainer's: the losses since the last line of the log, those before it, and the step of it
    _tr_loss: torch.Tensor
    _total_loss_scalar: float
    _globalstep_last_logged: int

    def __init__(
        self,
        *args: Any,
        recipe: Recipe | ClassificationRecipe,
        steps: int,
        recipe_callbacks: Callbacks,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._is_finite = True  # the loss and the metric of the last evaluation
        self.recipe, self.steps, self.recipe_callbacks = recipe, steps, recipe_callbacks

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's, without denormal numbers."""
        with flushed_denormals():
            return super().train(*args, **kwargs)

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Weight decay applies to matrices, not to biases and thresholds."""
        return [name for name, _ in model.named_parameters() if not name.endswith(_VECTORS)]

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Trainer's, with the thresholds in a group of their own if they have a learning rate."""
        is_new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        rate = self.recipe.threshold_learning_rate
        if not is_new or rate is None:
            return optimizer
        names = self.model.named_parameters()
        thresholds = {id(p) for name, p in names if name.endswith(_THRESHOLD)}
        for group in list(optimizer.param_groups):
            own = [p for p in group["params"] if id(p) in thresholds]
            if own:
                group["params"] = [p for p in group["params"] if id(p) not in thresholds]
                optimizer.add_param_group({**group, "params": own, "lr": rate})
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """The recipe's schedule.

        Raises:
            ValueError: the run is shorter than its warm-up.
        """
        if self.recipe.warmup_steps > num_training_steps:
            raise ValueError(
                f"warmup_steps must be at most the {num_training_steps} steps of the run, got "
                f"{shorten(self.recipe.warmup_steps)}"
            )
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                self.optimizer if optimizer is None else optimizer,
                lambda step: self.factor(step, num_training_steps),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def factor(self, step: int, total: int) -> float:
        """The factor of the learning rate after `step` of `total` steps."""
        recipe = self.recipe
        schedule = getattr(recipe, "schedule", "cosine")
        start = round(getattr(recipe, "cosine_start", 0.0) * self.steps)
        return rate_factor(step, total, schedule, recipe.warmup_steps, start)

    def report(self, metrics: dict[str, float]) -> None:
        """Log the result of an evaluation and pass it to the callbacks."""
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log; the loss at the end is the mean over the whole run, also if it was resumed."""
        if "train_loss" in logs:
            step, total = self.state.global_step, self._total_loss_scalar
            if total == 0 and self._globalstep_last_logged == step:
                return  # a finished run was resumed, and there was nothing to do
            logs["train_loss"] = total / max(1, step)
        super().log(logs, *args, **kwargs)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        chosen = f"eval_{self.args.metric_for_best_model}"
        self._is_finite = all(math.isfinite(metrics[name]) for name in ("eval_loss", chosen))
        if self.recipe_callbacks.objections() or not self._is_finite:
            return False
        return bool(super()._determine_best_metric(metrics, trial))

    def check_best(self) -> None:
        """Check that the run has a best model.

        Raises:
            CallbackError: all evaluations were rejected by callbacks.
            ValueError: the training diverged, or the checkpoint was deleted.
        """
        if self.state.best_model_checkpoint is not None:
            return
        what = f"output {self.args.output_dir} has no best model"
        if objections := self.recipe_callbacks.objections():
            raise CallbackError(f"{what}: the callbacks {objections} rejected the last evaluation")
        if not self._is_finite:
            raise ValueError(
                f"{what}: the training diverged, the last loss or {self.args.metric_for_best_model}"
                " is not finite; lower learning_rate or max_grad_norm"
            )
        raise ValueError(f"{what}: its checkpoint was deleted")

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a whole checkpoint or none: what a full disk or Ctrl-C cut short is removed.

        Raises:
            OSError: the checkpoint cannot be written.
        """
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        existed = folder.exists()
        try:
            with writing(folder):
                super()._save_checkpoint(*args, **kwargs)
        except BaseException:
            if not existed and not _is_complete(folder) and self.is_world_process_zero():
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Without Trainer's arguments, a pickle; recipe.yaml has them."""
        super()._save(output_dir, state_dict)
        folder = Path(self.args.output_dir if output_dir is None else output_dir)
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)
        except (RuntimeError, ValueError, OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"checkpoint {resume_from_checkpoint} cannot be loaded: {reason}"
            ) from error

    @property
    def _is_sharded(self) -> bool:
        return bool(self.is_deepspeed_enabled or self.is_fsdp_enabled)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self._is_sharded:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            parts = {"optimizer": self.optimizer, "schedule": self.lr_scheduler}
            states = {name: part.state_dict() for name, part in parts.items()}
            write_state(output_dir, "optimizer", states)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load both, then set the learning rate of the next step by the schedule: in an extended
        run it differs from the stored one, which is 0 at the end of the shorter run."""
        if checkpoint is None:
            return
        if self._is_sharded or not (Path(checkpoint) / "optimizer.json").is_file():
            super()._load_optimizer_and_scheduler(checkpoint)
        else:
            states = read_state(checkpoint, "optimizer")
            try:
                self.optimizer.load_state_dict(states["optimizer"])
                self.lr_scheduler.load_state_dict(states["schedule"])
            except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
                raise ValueError(
                    f"checkpoint {checkpoint}: optimizer.json does not fit the model: {error}"
                ) from error
        # Accelerate wraps it.
        schedule: Any = getattr(self.lr_scheduler, "scheduler", self.lr_scheduler)
        factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
        rates = [rate * factor for rate, factor in zip(schedule.base_lrs, factors, strict=True)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates

    def _rng_name(self) -> str:
        return f"rng-{self.args.process_index}"

    def _save_rng_state(self, output_dir: str) -> None:
        """Also save the callbacks' states."""
        version, words, gauss = random.getstate()
        name, keys, *rest = np.random.get_state()
        states = {
            "python": [version, list(words), gauss],
            "numpy": [name, np.asarray(keys).tolist(), *rest],
            "cpu": torch.random.get_rng_state(),
            "loss": [self._tr_loss.item(), self._total_loss_scalar, self._globalstep_last_logged],
        }
        for name, module in _accelerators().items():
            states[name] = module.get_rng_state_all()
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        write_state(output_dir, self._rng_name(), states)
        if self.is_world_process_zero():
            self.recipe_callbacks.save(Path(output_dir))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        if not (Path(checkpoint) / f"{self._rng_name()}.json").is_file():
            super()._load_rng_state(checkpoint)
            return
        states = read_state(checkpoint, self._rng_name())
        try:
            version, words, gauss = states["python"]
            random.setstate((version, tuple(words), gauss))
            name, keys, *rest = states["numpy"]
            np.random.set_state((name, np.array(keys, np.uint32), *rest))
            torch.random.set_rng_state(states["cpu"])
            for name, module in _accelerators().items():
                if name in states:
                    module.set_rng_state_all(states[name])
            if "loss" in states:
                since, self._total_loss_scalar, self._globalstep_last_logged = states["loss"]
                self._tr_loss = torch.tensor(float(since), device=self.args.device)
        except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(
                f"checkpoint {checkpoint}: {self._rng_name()}.json cannot be used: {error}"
            ) from error


def _accelerators() -> dict[str, Any]:
    """By name, the modules of the devices on which a run may draw random numbers."""
    modules = {"cuda": torch.cuda, "xpu": torch.xpu}
    return {name: module for name, module in modules.items() if module.is_available()}


def _is_complete(folder: Path) -> bool:
    """Trainer writes its own state last."""
    try:
        json.loads((folder / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
