"""Pictures of an evaluation, written completely or not at all. They need the extra `pictures`."""

from .evaluation import draw_evaluation
from .influence import class_influence, draw_influence, point_influence

__all__ = [
    "class_influence", "draw_evaluation", "draw_influence", "point_influence",
]  # fmt: skip
