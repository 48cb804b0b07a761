"""Pictures of an evaluation, written completely or not at all. They need the extra `pictures`."""

from .charts import draw_classes, draw_confusion
from .evaluation import draw_evaluation
from .influence import class_influence, draw_influence, point_influence

__all__ = [
    "class_influence", "draw_classes", "draw_confusion", "draw_evaluation", "draw_influence",
    "point_influence",
]  # fmt: skip
