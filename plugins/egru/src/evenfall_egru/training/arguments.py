"""A recipe as transformers' TrainingArguments."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import TrainingArguments

from .classification_recipe import ClassificationRecipe
from .recipe import Recipe


def training_arguments(
    recipe: Recipe | ClassificationRecipe,
    output: Path,
    save_steps: int | None,
    metric: str,
    greater_is_better: bool,
) -> TrainingArguments:
    """The arguments of Trainer for one run.

    Args:
        recipe: the settings of the run.
        output: folder of the run.
        save_steps: steps between two checkpoints, or None for one per epoch.
        metric: the metric of an evaluation that chooses the best model.
        greater_is_better: its direction.

    Raises:
        ValueError: the batch size is not a multiple of the number of ranks.
    """
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        bf16=recipe.bf16,
        use_cpu=not (torch.cuda.is_available() or torch.xpu.is_available()),
        eval_strategy="epoch" if save_steps is None else "steps",
        save_strategy="epoch" if save_steps is None else "steps",
        eval_steps=save_steps,
        save_steps=save_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=greater_is_better,
        logging_steps=100,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        report_to="none",
    )
    ranks = arguments.world_size
    if recipe.batch_size % ranks:
        raise ValueError(
            f"batch_size ({recipe.batch_size}) must be a multiple of the {ranks} ranks"
        )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process, one device: DataParallel would split the carried state
    arguments.per_device_train_batch_size = recipe.batch_size // ranks
    return arguments
