"""Remove weights while a model trains."""

from .gradual import GradualPruning
from .rewiring import DeepRewiring
from .rigl import RigL

__all__ = ["DeepRewiring", "GradualPruning", "RigL"]
