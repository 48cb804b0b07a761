"""The optimiser and the learning rate schedule of a recipe, from timm."""

from __future__ import annotations

from timm.optim import create_optimizer_v2, param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from torch import nn
from torch.optim import Optimizer

from .recipe import Recipe


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The optimiser, without weight decay for vectors and names in a module's no_weight_decay().

    Raises:
        ValueError: timm has no optimiser of that name, or it does not take the options.
    """
    groups = param_groups_weight_decay(
        model, recipe.weight_decay, no_weight_decay_list=no_decay_names(model)
    )
    try:
        return create_optimizer_v2(
            groups, recipe.optimizer, recipe.learning_rate, 0.0, **recipe.optimizer_options
        )
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"optimizer {recipe.optimizer!r}: {error}") from error


def no_decay_names(model: nn.Module) -> set[str]:
    """Full names of the parameters that the modules exclude from weight decay."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if hasattr(module, "no_weight_decay")
        for name in module.no_weight_decay()
    }


def make_schedule(recipe: Recipe, optimizer: Optimizer, steps: int) -> CosineLRScheduler:
    """Linear warm-up, then a cosine, updated each step; it has no state to save.

    Args:
        recipe: the warm-up, cosine and epochs.
        optimizer: the optimiser whose learning rate is scheduled.
        steps: steps per epoch.
    """
    warmup = recipe.warmup_epochs * steps
    return CosineLRScheduler(
        optimizer,
        t_initial=max(recipe.epochs * steps - warmup, 2),  # timm's cosine needs two steps
        lr_min=recipe.min_learning_rate,
        warmup_t=warmup,
        warmup_lr_init=recipe.warmup_learning_rate,
        warmup_prefix=True,
        t_in_epochs=False,
    )
