"""Training with state carried across windows, on transformers' Trainer."""

from evenfall.recipes import dump_recipe

from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "dump_recipe", "load_recipe", "train"]
