"""Train with transformers' Trainer and carry the state from window to window."""

from evenfall.recipes import dump_recipe

from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "dump_recipe", "load_recipe", "train"]
