"""Training with state carried across windows, on transformers' Trainer."""

from .recipe import Recipe, dump_recipe, load_recipe
from .run import train

__all__ = ["Recipe", "dump_recipe", "load_recipe", "train"]
