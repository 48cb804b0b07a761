"""Training runs from recipes, and comparisons of rules."""

from .compare import Comparison, compare_rules
from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Comparison", "Recipe", "compare_rules", "load_recipe", "train"]
