"""Training and evaluation of the classifiers, with Accelerate and timm."""

from evenfall.recipes import dump_recipe

from ..extras import missing

if (error := missing("train", __name__)) is not None:
    raise error

from ..models.prediction import logits
from .data import register_dataset
from .evaluation import evaluate
from .loading import checkpoint_recipe
from .recipe import Recipe, load_recipe, shipped_recipes
from .run import train

__all__ = [
    "Recipe", "checkpoint_recipe", "dump_recipe", "evaluate", "load_recipe", "logits",
    "register_dataset", "shipped_recipes", "train",
]  # fmt: skip
