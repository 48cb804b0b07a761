"""One training run of a classifier of frame sequences."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed
from transformers.trainer import TRAINER_STATE_NAME

from evenfall.runs import Progress, make_callbacks

from ..evaluation.accuracy import evaluate_frames
from ..models.classification_egru import EgruForSequenceClassification
from ..sequences.frames import Frames, read_frames
from .arguments import training_arguments
from .baseline import RecurrentClassifier
from .classification_recipe import ClassificationRecipe
from .data_record import describe_arrays
from .frame import fit, host_callbacks, open_run
from .recipe_trainer import RecipeTrainer

logger = logging.getLogger(__name__)


class ClassificationTrainer(RecipeTrainer):
    """Trainer that evaluates accuracy, activity and backward sparsity."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Accuracy, loss and mean rates of the layers on the validation split."""
        model = self.accelerator.unwrap_model(self.model)
        result = evaluate_frames(model, self.eval_dataset)
        metrics = {f"{metric_key_prefix}_{name}": result[name] for name in ("loss", "accuracy")}
        for name in ("activity", "backward_sparsity"):
            if rates := result[name]:
                metrics[f"{metric_key_prefix}_{name}"] = sum(rates) / len(rates)
        self.report(metrics)
        model.train()
        return metrics


def train_classifier(
    recipe: ClassificationRecipe,
    data: str | Path,
    output: str | Path,
    *,
    resume: bool = False,
    save_steps: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train a classifier and save the checkpoint with the best validation accuracy.

    Only the splits train and valid are read.

    Args:
        recipe: the settings of the run.
        data: folder or file of the data set.
        output: folder of the run: recipe.yaml, log.jsonl, checkpoints and, at the end, `best/`.
        resume: resume from the last checkpoint in `output`, to the same losses; without one, start
            a new run. A higher `epochs` extends the run.
        save_steps: save and validate after every `save_steps` steps, too.
        progress: called with (task, steps done, total steps); Trainer then shows no bar.

    Returns:
        The folder of the best model.

    Raises:
        FileExistsError, BlockingIOError, ValueError, CallbackError, UnknownNameError: as `train`.
        FileNotFoundError: the data is not found.
    """
    callbacks = make_callbacks(recipe.callbacks)
    frames, valid = (
        read_frames(recipe.dataset, data, split, recipe.dataset_options)
        for split in ("train", "valid")
    )
    record = {
        split: describe_arrays(part.x.numpy(), part.labels.numpy())
        for split, part in (("train", frames), ("valid", valid))
    }
    arguments = training_arguments(recipe, Path(output), save_steps, "accuracy", True)
    arguments.disable_tqdm = progress is not None
    files = [TRAINER_STATE_NAME, *callbacks.files]
    with open_run(recipe, output, arguments, record, resume=resume, files=files) as (folder, last):
        if len(frames) < recipe.batch_size:
            raise ValueError(
                f"batch_size ({recipe.batch_size}) exceeds the {len(frames)} training sequences"
            )
        model = make_classifier(recipe, frames)
        callbacks.prepare(model)
        steps = len(frames) // recipe.batch_size
        trainer = ClassificationTrainer(
            model=model,
            args=arguments,
            train_dataset=frames,
            eval_dataset=valid,
            data_collator=_as_is,
            recipe=recipe,
            steps=steps,
            recipe_callbacks=callbacks,
            callbacks=host_callbacks(folder, callbacks, steps, last, progress),
        )
        fit(trainer, folder, last, lambda best: trainer.save_model(str(best)))
    return folder.best


def make_classifier(recipe: ClassificationRecipe, frames: Frames) -> torch.nn.Module:
    """A new model of the recipe for these frames."""
    set_seed(recipe.seed)
    config = recipe.config(frames.x.shape[-1], len(frames.classes))
    config.id2label = dict(enumerate(frames.classes))
    config.label2id = {name: index for index, name in enumerate(frames.classes)}
    if recipe.cell == "egru":
        return EgruForSequenceClassification(config)
    return RecurrentClassifier(recipe.cell, config)


def _as_is(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The collator: Frames already returns whole batches."""
    return batch
