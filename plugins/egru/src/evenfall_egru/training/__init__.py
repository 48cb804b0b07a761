"""Train with transformers' Trainer: language models, which carry the state from window to window,
and classifiers of frame sequences."""

from evenfall.recipes import dump_recipe

from .bundled import bundled_recipes
from .classification_recipe import ClassificationRecipe, load_classification_recipe
from .classification_run import train_classifier
from .recipe import Recipe, load_recipe
from .run import train

__all__ = [
    "ClassificationRecipe", "Recipe", "bundled_recipes", "dump_recipe",
    "load_classification_recipe", "load_recipe", "train", "train_classifier",
]  # fmt: skip
