"""Training and evaluation of the classifiers, on Accelerate and timm."""

from evenfall.recipes import dump_recipe

from .data import register_dataset
from .evaluation import evaluate, logits
from .recipe import Recipe, load_recipe, shipped_recipes
from .run import train

__all__ = [
    "Recipe", "dump_recipe", "evaluate", "load_recipe", "logits", "register_dataset",
    "shipped_recipes", "train",
]  # fmt: skip
